#!/usr/bin/env bash
# The decoders against random bytes. Its last line is "N passed, N failed".
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
cd "$root"

targets=()
for file in tests/fuzz/regressions/*/ tests/fuzz/*.cpp; do
    name=$(basename "$file" .cpp)
    [[ -d $file || $name == entry_point || $name == make_corpus ]] || targets+=("$name")
done

usage() {
    cat <<TEXT
Usage: tests/fuzz/run.sh [--seconds N] [--jobs N] [TARGET…]

  --seconds N  how long each target runs (default 6)
  --jobs N     how many run at a time (default 2)

Targets: ${targets[*]}

Each begins with inputs made by the real encoders, those of bugs that were found (tests/fuzz/regressions) and what
earlier runs have learned (build/fuzz/corpus).
TEXT
}

wrong_usage() {
    echo "tests/fuzz/run.sh: $1" >&2
    exit 2
}

seconds=6
jobs=2
chosen=()
while (($# > 0)); do
    case $1 in
        --seconds | --jobs)
            [[ ${2:-} =~ ^[1-9][0-9]*$ ]] || wrong_usage "$1 expects a number"
            if [[ $1 == --seconds ]]; then seconds=$2; else jobs=$2; fi
            shift
            ;;
        -h | --help) usage; exit 0 ;;
        -*) wrong_usage "unknown flag '$1'" ;;
        *)
            [[ " ${targets[*]} " == *" $1 "* ]] || wrong_usage "there is no target '$1'; there are: ${targets[*]}"
            chosen+=("$1")
            ;;
    esac
    shift
done
((${#chosen[@]} > 0)) || chosen=("${targets[@]}")

out=build/fuzz
mkdir -p "$out"
wanted=(make_corpus)
for target in "${chosen[@]}"; do wanted+=("fuzz-$target"); done
configure=(--preset fuzz)
# A build folder that was copied along with the sources remembers where it was.
[[ -e $out/CMakeCache.txt ]] && ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$root" "$out/CMakeCache.txt" && configure+=(--fresh)
if ! { cmake "${configure[@]}" && cmake --build --preset fuzz --parallel "$(nproc)" --target "${wanted[@]}"; } \
    >"$out/build.log" 2>&1 || ! "$out/bin/make_corpus" "$out/seeds"; then
    grep -E -A 8 '^CMake Error|error:|FAILED' "$out/build.log" | head -n 40 >&2 || true
    echo "tests/fuzz/run.sh: the build failed; all of its output is in $out/build.log" >&2
    echo "0 passed, 1 failed"
    exit 1
fi

run_target() {
    local target=$1 corpus=$out/corpus/$1 found=$out/found/$1 log=$out/logs/$1.log
    rm -rf "$found"
    mkdir -p "$corpus" "$found" "$out/logs"
    # No allocation by a length that is only claimed; but an orphan's key may take 256 MiB of decompressed records.
    local most_mb=16
    case $target in
        store | orphans | node) most_mb=300 ;;
        protobuf | discovery) most_mb=64 ;;  # what Protobuf itself reserves for a string that is only claimed
    esac
    local arguments=(-max_total_time="$seconds" -max_len=8192 -len_control=20 -timeout=10 -rss_limit_mb=2048
        -malloc_limit_mb="$most_mb" -artifact_prefix="$found/" -print_final_stats=1)
    [[ -e $out/seeds/$target.dict ]] && arguments+=(-dict="$out/seeds/$target.dict")
    [[ -d tests/fuzz/regressions/$target ]] && set -- "tests/fuzz/regressions/$target" || set --
    UBSAN_OPTIONS=print_stacktrace=1 "$out/bin/fuzz-$target" "${arguments[@]}" "$corpus" "$out/seeds/$target" "$@" >"$log" 2>&1
}

# One line for each, as it ends; of one that failed also what happened and how to see it again.
report() {
    local target=$1 log=$out/logs/$1.log file runs
    runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
    if (($2 == 0)); then
        printf '  %-14s %9s inputs, %s places\n' "$target" "${runs:-0}" "$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | cut -d' ' -f2)"
        return
    fi
    echo "  $target FAILED; $log ends:"
    grep -m 1 -A 14 -E 'assertion failed|runtime error|ERROR: (Address|Leak)Sanitizer|ERROR: libFuzzer' "$log" | sed 's/^/    /' || tail -n 15 "$log"
    for file in "$out/found/$target"/*; do
        [[ -e $file ]] && echo "    to repeat: $out/bin/fuzz-$target $file"
    done
}

passed=0
failed=0
declare -A running=()
reap() {
    local pid status=0
    wait -n -p pid || status=$?
    report "${running[$pid]}" "$status"
    unset "running[$pid]"
    if ((status == 0)); then passed=$((passed + 1)); else failed=$((failed + 1)); fi
}
trap 'kill "${!running[@]}" 2>/dev/null || true; exit 130' INT TERM
for target in "${chosen[@]}"; do
    ((${#running[@]} < jobs)) || reap
    run_target "$target" &
    running[$!]=$target
done
while ((${#running[@]} > 0)); do reap; done

echo "$passed passed, $failed failed"
((failed == 0)) || exit 1
