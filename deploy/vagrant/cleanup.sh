#!/usr/bin/env bash
# Removes the machines of a cluster with their disks, whatever state they are in, and ends the project's own libvirtd if no
# other cluster needs it. Does nothing where there is none. The box stays; `vagrant box remove` takes it away.
set -euo pipefail
# shellcheck source=deploy/vagrant/machines.sh
source "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/vagrant/cleanup.sh [--name NAME]

  --name NAME   of the cluster (default logstream)
TEXT
}

cluster=logstream
while (($# > 0)); do
    case $1 in
        --name) cluster=$(flag_value "$@"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
name_cluster "$cluster"
find_libvirt
if [[ -e $dir/choices ]]; then
    in_vagrant destroy --force || die "Vagrant could not remove everything; see above"
    rm -rf "$dir"
fi
# Only own clusters can be in there.
if ((${#reach[@]} > 0)) && ! ls "$build"/*/choices >/dev/null 2>&1; then
    "$here/libvirtd.sh" stop
    rm -rf "$libvirt"
fi
