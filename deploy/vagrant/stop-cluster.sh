#!/usr/bin/env bash
# Shuts the machines of a cluster down; the brokers leave in order. Disks, and with them the data, stay.
set -euo pipefail
# shellcheck source=deploy/vagrant/machines.sh
source "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/vagrant/stop-cluster.sh [flags]

  --name NAME   of the cluster (default logstream)
  --brokers     stop only the brokers; the machines keep running
TEXT
}

cluster=logstream brokers=false
while (($# > 0)); do
    case $1 in
        --name) cluster=$(flag_value "$@"); shift ;;
        --brokers) brokers=true ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
name_cluster "$cluster"
[[ -e $dir/choices ]] || die "there is no cluster '$name'"
find_libvirt
if $brokers; then
    # All at once: of brokers that stop one by one, each makes the others change their view.
    stops=()
    for machine in $(machine_names); do
        on "$machine" systemctl stop logstream &
        stops+=($!)
    done
    wait "${stops[@]}" || die "not all brokers could be stopped; see above"
else
    in_vagrant halt
fi
