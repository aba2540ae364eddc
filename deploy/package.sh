#!/usr/bin/env bash
# Builds the Debian packages logstream and liblogstream-dev into build/packages, and prints their paths.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: deploy/package.sh [--version VERSION]

  --version   version of the packages, instead of the project's
TEXT
}

version=()
while (($# > 0)); do
    case $1 in
        --version)
            [[ -n ${2:-} ]] || { echo "package.sh: --version expects a version" >&2; exit 2; }
            version=(-R "$2")
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        *) echo "package.sh: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
deploy/install-packages.sh --packages
deploy/build.sh
log=build/package.log
if ! (cd build && umask 022 && cpack "${version[@]}") >"$log" 2>&1; then
    tail -n 20 "$log" >&2
    echo "package.sh: cpack failed; its full output is in $root/$log" >&2
    exit 1
fi
sed -n 's/^CPack: - package: \(.*\) generated\.$/\1/p' "$log"
