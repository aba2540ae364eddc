#!/usr/bin/env bash
# How fast three brokers on this machine are: a handful of cases, each one run of logstream-bench.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)

usage() {
    cat <<'TEXT'
Usage: tests/bench/run.sh [--quick] [--json] [--bin DIR]

  --quick    three seconds a case, under 50 s in all (else ten)
  --json     a JSON list, one object a case, in place of the table
  --bin DIR  the programs (default build/bin; builds them there when they are missing)

Starts three brokers on loopback, on ports and in a folder of its own, and removes them at the end. The brokers and the
clients share this machine, its processors and its disk: compare figures of one machine only.
TEXT
}

die() {
    echo "tests/bench/run.sh: $1" >&2
    exit "${2:-1}"
}

duration=10 warm_up=2 format=table bin=$root/build/bin
while (($# > 0)); do
    case $1 in
        --quick) duration=3 warm_up=1 ;;
        --json) format=json ;;
        --bin) (($# > 1)) || die "--bin expects a folder" 2; bin=$2; shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done

programs=(logstream logstreamctl logstream-bench)
for program in "${programs[@]}"; do
    [[ -x $bin/$program ]] && continue
    [[ $bin == "$root/build/bin" ]] || die "there is no $bin/$program"
    "$root/deploy/build.sh" "${programs[@]}" >&2
    break
done

# Below the range that the kernel gives to outgoing connections.
port=$((20000 + RANDOM % 10000))
dir=$(mktemp -d "${TMPDIR:-/tmp}/logstream-bench.XXXXXX")
cluster=("$root/deploy/local/cluster.sh")
cleanup() {
    "${cluster[@]}" stop --dir "$dir" >/dev/null 2>&1 || true
    rm -rf "$dir"
}
trap cleanup EXIT
trap 'exit 130' INT TERM

if ! "${cluster[@]}" start -n 3 --dir "$dir" --port "$port" --cluster "bench-$port" --broadcast-port "$((port + 10))" \
    --multicast "239.77.$((port % 250)).1:$((port + 11))" --binary "$bin/logstream" -- --http off >&2; then
    die "the brokers did not start"
fi

# The number that a line of JSON has for a key; within an object: "object key".
field() {
    local rest=$1 name
    for name in $2; do rest=${rest#*\""$name"\":}; done
    printf '%s' "${rest%%[,\}]*}"
}

results=()
show() {
    local json=$1 acks
    acks=("$(field "$json" 'ack_us p50')" "$(field "$json" 'ack_us p99')" "$(field "$json" 'ack_us max')")
    printf '%-14s %12.0f %10.2f %9s %9s %9s\n' "$2" "$(field "$json" records_per_s)" "$(field "$json" mb_per_s)" "${acks[@]}"
}

# measure CASE FLAGS…
measure() {
    local name=$1 json
    shift
    json=$("$bin/logstream-bench" --brokers "127.0.0.1:$port" --duration "$duration" --warmup "$warm_up" --json "$@") ||
        die "the case '$name' failed"
    json="{\"case\":\"$name\",${json#\{}"
    results+=("$json")
    if [[ $format == table ]]; then show "$json" "$name"; fi
}

[[ $format == json ]] || printf '%-14s %12s %10s %9s %9s %9s\n' case records/s MB/s 'ack p50' 'p99' 'max µs'
measure one-in-flight --window 1 --linger 0
measure 100B
measure 1KiB --record-bytes 1024
measure paced-5000 --rate 5000 --consumers 1
measure four-producers --producers 4 --partitions 4
measure with-consumer --consumers 1

if [[ $format == json ]]; then
    (
        IFS=,
        printf '[%s]\n' "${results[*]}"
    )
fi
