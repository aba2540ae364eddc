#!/usr/bin/env bash
# How fast LogStream is on this machine, and what else there is beside it. See --help.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

bin=$root/build/bin
arguments=("$@")
while (($# > 0)); do
    case $1 in
        --bin) bin=${2:-}; break ;;
        -h | --help) exec python3 "$root/tests/bench/run.py" --help ;;
    esac
    shift
done
for program in logstream logstreamctl logstream-bench; do
    [[ -x $bin/$program || $bin != "$root/build/bin" ]] && continue
    "$root/deploy/build.sh" logstream logstreamctl logstream-bench >&2
    break
done
exec python3 "$root/tests/bench/run.py" "${arguments[@]}"
