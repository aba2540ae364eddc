#!/usr/bin/env bash
# Makes the two images that the Dockerfile begins with, where no registry can be reached: from Debian's mirror, by
# debootstrap.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
    cat <<'TEXT'
Usage: deploy/docker/base-images.sh [flags]

  --dir DIR        where their files are kept, so that the next run takes seconds (default build/docker)
  --programs DIR   include the packages that the programs in this folder need, so that building the image needs
                   no network (default build/bin, if it exists)
  --no-import      only create the files

Creates the images logstream-build-base, with the packages that building needs, and logstream-runtime-base. Needs root and
debootstrap (deploy/install-packages.sh --docker). Then:

  docker build -f deploy/docker/Dockerfile -t logstream \
      --build-arg BUILD_BASE=logstream-build-base --build-arg RUNTIME_BASE=logstream-runtime-base .
TEXT
}

die() {
    echo "base-images.sh: $1" >&2
    exit "${2:-1}"
}

dir=$root/build/docker programs=$root/build/bin import=true
while (($# > 0)); do
    case $1 in
        --dir | --programs)
            [[ -n ${2:-} ]] || die "$1 expects a folder" 2
            if [[ $1 == --dir ]]; then dir=$2; else programs=$2; fi
            shift
            ;;
        --no-import) import=false ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
((EUID == 0)) || die "debootstrap needs root: sudo deploy/docker/base-images.sh …"
command -v debootstrap >/dev/null || die "debootstrap is not installed; deploy/install-packages.sh --docker installs it"
mkdir -p "$dir"
# The release of this machine if it is Debian's, so that what was built here runs there, too.
suite=$(. /etc/os-release && [[ ${ID:-} == debian ]] && echo "${VERSION_CODENAME:-}" || true)
suite=${suite:-bookworm}
mirror=$(grep -hoE 'https?://[^ ]+/debian/?( |$)' /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    tr -d ' ' | head -n 1 || true)
mirror=${mirror:-http://deb.debian.org/debian}

work=''
clean_up() { [[ -z $work ]] || rm -rf "$work"; }
trap clean_up EXIT

# Whether a list of packages names all of these.
has_all() {
    local list=$1
    shift
    [[ -e $list ]] && ! printf '%s\n' "$@" | grep -vxFf "$list" | grep -q .
}

# make_base NAME PACKAGE…: DIR/NAME.tar, if it is not there with these packages.
make_base() {
    local file=$dir/$1.tar list=$dir/$1.packages
    shift
    if [[ -e $file ]] && has_all "$list" "$suite" "$@"; then return; fi
    rm -f "$list"
    work=$(mktemp -d)
    echo "base-images.sh: creating $file; this takes a minute or two" >&2
    local include
    include=$(IFS=,; echo "$*")
    if ! debootstrap --variant=minbase ${include:+--include="$include"} "$suite" "$work/root" "$mirror" >"$work/log" 2>&1; then
        tail -n 20 "$work/log" >&2
        die "debootstrap failed"
    fi
    rm -rf "$work"/root/var/cache/apt/archives/*.deb "$work"/root/var/lib/apt/lists/* "$work/root/etc/machine-id"
    tar -C "$work/root" --numeric-owner -cf "$file.part" .
    mv "$file.part" "$file"
    printf '%s\n' "$suite" "$@" >"$list"
    rm -rf "$work"
    work=''
}

mapfile -t build_packages < <("$root/deploy/install-packages.sh" --list)
runtime_packages=(tini)
if [[ -x $programs/logstream ]]; then
    mapfile -t -O 1 runtime_packages < <("$root/deploy/docker/library-packages.sh" "$programs"/*)
fi
make_base build-base "${build_packages[@]}"
make_base runtime-base "${runtime_packages[@]}"
$import || exit 0
for name in build-base runtime-base; do
    docker import "$dir/$name.tar" "logstream-$name" >/dev/null
done
echo "Images: logstream-build-base, logstream-runtime-base"
