#!/usr/bin/env bash
# Configures and builds the release preset into build/. Quick when there is nothing to do.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: deploy/build.sh [--tests] [TARGET…]

  --tests   include the tests (install their packages first: deploy/install-packages.sh --tests)

Without targets, builds everything. The full output goes to build/build.log, errors also to the terminal.
TEXT
}

tests=false
targets=()
while (($# > 0)); do
    case $1 in
        --tests) tests=true ;;
        -h | --help) usage; exit 0 ;;
        -*) echo "build.sh: unknown flag '$1'" >&2; usage >&2; exit 2 ;;
        *) targets+=("$1") ;;
    esac
    shift
done

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
mkdir -p build
log=build/build.log
: >"$log"

cached() { sed -n "s/^$1:[A-Z]*=//p" build/CMakeCache.txt 2>/dev/null || true; }

configure=(--preset release)
# A build folder that was copied along with the sources remembers where it was.
[[ -e build/CMakeCache.txt && $(cached CMAKE_HOME_DIRECTORY) != "$root" ]] && configure+=(--fresh)
# Once the tests have been asked for they stay, so that quickstart and tests share one build folder without rebuilding.
if $tests; then
    configure+=(-DLOGSTREAM_TESTS=ON)
elif [[ $(cached LOGSTREAM_TESTS) != ON ]]; then
    configure+=(-DLOGSTREAM_TESTS=OFF)
fi

if ! cmake "${configure[@]}" >>"$log" 2>&1; then
    grep -A 8 -E '^CMake Error' "$log" >&2 || tail -n 20 "$log" >&2
    echo "build.sh: cmake failed; its full output is in $root/$log" >&2
    exit 1
fi

# On a terminal one line that moves, else a line for each tenth. (Not awk: Debian's reads and writes pipes in blocks, and
# its progress would stand still for minutes.)
show_progress() {
    local line done=0 all=0 last=0
    while IFS= read -r line; do
        printf '%s\n' "$line" >>"$log"
        [[ $line =~ ^\[([0-9]+)/([0-9]+)\] ]] || continue
        done=${BASH_REMATCH[1]} all=${BASH_REMATCH[2]}
        ((all >= 10)) || continue
        if [[ -t 2 ]]; then
            printf '\r  compiling %d of %d ' "$done" "$all" >&2
        elif ((10 * done / all > last)); then
            last=$((10 * done / all))
            printf '  compiling: %d %%\n' $((10 * last)) >&2
        fi
    done
    if [[ -t 2 ]] && ((all >= 10)); then printf '\r%40s\r' '' >&2; fi
}

build=(cmake --build build --parallel "$(nproc)")
((${#targets[@]} > 0)) && build+=(--target "${targets[@]}")
if ! NINJA_STATUS='[%f/%t] ' "${build[@]}" 2>&1 | show_progress; then
    # Ninja shows the output of each failed command right below its FAILED line.
    failures=$(awk '/^FAILED: / { failed = 1 } /^\[[0-9]+\/[0-9]+\]/ { failed = 0 } failed' "$log" | grep -v '^/.*ccache ' || true)
    head -n 60 <<<"${failures:-$(tail -n 5 "$log")}" >&2
    echo "build.sh: the build failed; its full output is in $root/$log" >&2
    exit 1
fi
