#!/usr/bin/env bash
# How fast LogStream is on this machine, and what else there is beside it. See --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

bin=$root/build/bin quick=false
arguments=("$@")
while (($# > 0)); do
    case $1 in
        --bin) bin=${2:-}; shift ;;
        --quick) quick=true ;;
        -h | --help) exec python3 "$root/tests/bench/run.py" --help ;;
    esac
    (($# == 0)) || shift
done
programs=(logstream logstreamctl logstream-bench)
for program in "${programs[@]}"; do
    [[ -x $bin/$program || $bin != "$root/build/bin" ]] && continue
    "$root/deploy/build.sh" "${programs[@]}" >&2
    break
done
configure_parts() { (cd "$root" && cmake --preset release "-DLOGSTREAM_BENCH=$1") >/dev/null 2>&1; }
build_parts() { configure_parts ON && "$root/deploy/build.sh" logstream-parts >&2; }
if [[ $bin == "$root/build/bin" && $quick == false ]] && ! build_parts; then
    echo "tests/bench/run.sh: no logstream-parts; deploy/install-packages.sh --bench installs what it is built with" >&2
    configure_parts OFF || true  # else every later build would fail
fi
exec python3 "$root/tests/bench/run.py" "${arguments[@]}"
