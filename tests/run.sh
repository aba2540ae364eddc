#!/usr/bin/env bash
# The one test command: installs what is missing, builds, tests. Its last line is "N passed, N failed".
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"

usage() {
    cat <<'TEXT'
Usage: tests/run.sh [KIND [ARGUMENTS]]

  (no kind)                                    unit, sim, fuzz and integration
  unit [NAME…]                                 unit tests; NAME is part of a test's name
  sim [ARGUMENTS of logstream-sim]             the cluster in a simulated world, one seed a run
  soak [--minutes N] [--from SEED]             the same with new seeds until the time is over (10 minutes)
  integration [NAME…] [--mode MODE]            scenarios on real processes; MODE is netns (the default), loopback,
                                               docker or vagrant
  kubernetes                                   manifests against the schemas of Kubernetes
  docker                                       image, compose and health checks, end to end
  upgrade [COMMIT]                             a cluster of an earlier release becomes one of this version (the last v* tag)
  chaos [--minutes N]                          random faults on real brokers under a judged load (10 minutes)
  sanitizers [asan|tsan]                       the tests in builds that report bad memory accesses and data races
  fuzz [--seconds N] [TARGET…]                 the decoders against random bytes
  packages                                     the Debian packages: made, installed into a fresh Debian, upgraded, purged
  bench [ARGUMENTS]                            figures: tests/bench/run.sh

Examples:
  tests/run.sh
  tests/run.sh unit QuorumRule
  tests/run.sh integration trio stream-failover
  tests/run.sh integration --mode loopback single
  tests/run.sh integration --mode docker
  tests/run.sh upgrade v0.1.0
TEXT
}

passed=0
failed=0
finish() {
    echo "$passed passed, $failed failed"
    ((failed == 0)) || exit 1
    exit 0
}

wrong_usage() {
    echo "tests/run.sh: $1" >&2
    exit 2
}

heading() { printf '\n== %s\n' "$1"; }

prepare() {
    heading build
    local packages=(--tests)
    [[ $mode == docker || $mode == vagrant ]] && packages+=("--$mode")
    if ! deploy/install-packages.sh "${packages[@]}" || ! deploy/build.sh --tests; then
        echo "tests/run.sh: nothing was tested: packages or build failed, see above"
        failed=$((failed + 1))
        finish
    fi
}

# Adds the counts of the last "N passed, N failed" in a runner's log; a runner that ends badly has failed at least once.
count() {
    local log=$1 status=$2 line
    line=$(grep -oE '[0-9]+ passed, [0-9]+ failed' "$log" | tail -n 1 || true)
    if [[ -z $line ]]; then
        echo "tests/run.sh: the runner ended with status $status and did not say what it ran"
        failed=$((failed + 1))
        return
    fi
    passed=$((passed + ${line%% passed*}))
    local bad=${line##*, }
    bad=${bad%% *}
    ((status != 0 && bad == 0)) && bad=1
    failed=$((failed + bad))
}

run_logged() {
    local log=$1 status=0
    shift
    # The runner's own count is hidden: the last line of all is the one to read.
    "$@" 2>&1 | tee "$log" | grep --line-buffered -vxE '[0-9]+ passed, [0-9]+ failed' || status=${PIPESTATUS[0]}
    count "$log" "$status"
}

unit() {
    heading unit
    unit_tests build "$@"
}

unit_tests() {
    local folder=$1 status=0 select=() name
    local log=$folder/unit-tests.log
    shift
    for name in "$@"; do select+=("${select:+|}$name"); done
    local pattern
    pattern=$(IFS=; echo "${select[*]}")
    # Of the tests that pass only the number is of interest.
    ctest --test-dir "$folder" --output-on-failure --timeout 300 --parallel "$(nproc)" --no-tests=error ${pattern:+-R "$pattern"} 2>&1 |
        tee "$log" | grep --line-buffered -vE '^ *Start +[0-9]+: |  Passed +[0-9.]+ sec$|^Internal ctest|^Test project' ||
        status=${PIPESTATUS[0]}
    local total bad skipped
    read -r bad total < <(sed -nE 's/.* ([0-9]+) tests? failed out of ([0-9]+)$/\1 \2/p' "$log") || true
    skipped=$(grep -cE '\*\*\*Skipped|\*\*\*Not Run \(Disabled\)' "$log" || true)
    if [[ -z ${total:-} ]]; then
        echo "tests/run.sh: ctest ended with status $status and did not say what it ran"
        failed=$((failed + 1))
        return
    fi
    ((status != 0 && bad == 0)) && bad=1
    passed=$((passed + total - bad - skipped))
    failed=$((failed + bad))
}

sim() {
    heading simulation
    local arguments=("$@")
    ((${#arguments[@]} == 0)) && arguments=(--seeds 1..300)
    run_logged build/simulation-tests.log build/bin/logstream-sim "${arguments[@]}"
}

soak() {
    heading soak
    local minutes=10 seed=$(($(date +%s) * 1000)) end
    while (($# > 0)); do
        [[ ${2:-} =~ ^[0-9]+$ ]] || wrong_usage "$1 expects a number"
        case $1 in
            --minutes) minutes=$2 ;;
            --from) seed=$2 ;;
            *) wrong_usage "soak knows --minutes N and --from SEED, not '$1'" ;;
        esac
        shift 2
    done
    end=$((SECONDS + minutes * 60))
    while ((SECONDS < end)); do
        run_logged build/soak-tests.log build/bin/logstream-sim --seeds "$seed..$((seed + 99))"
        seed=$((seed + 100))
    done
}

integration() {
    heading integration
    run_logged build/integration-tests.log python3 tests/integration/run.py "$@"
}

# What the sanitizers find ends the process that did it, so that its test fails.
sanitizers() {
    local presets=("$@") preset
    ((${#presets[@]} > 0)) || presets=(asan tsan)
    export ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1
    export TSAN_OPTIONS=halt_on_error=1
    for preset in "${presets[@]}"; do
        [[ $preset == asan || $preset == tsan ]] || wrong_usage "sanitizers knows asan and tsan, not '$preset'"
        heading "$preset: build"
        mkdir -p build
        local log=build/$preset.log
        if ! { cmake --preset "$preset" -DLOGSTREAM_TESTS=ON && cmake --build --preset "$preset"; } >"$log" 2>&1; then
            tail -n 20 "$log"
            failed=$((failed + 1))
            continue
        fi
        heading "$preset: unit"
        unit_tests "build/$preset"
        heading "$preset: simulation"
        run_logged "build/$preset/simulation-tests.log" "build/$preset/bin/logstream-sim" --seeds 1..40
        heading "$preset: integration"
        run_logged "build/$preset/integration-tests.log" \
            python3 tests/integration/run.py --build "build/$preset" trio stream-failover restart-all
    done
}

# Builds the earlier release once; its programs stay in build/releases.
upgrade() {
    local release=${1:-$(git describe --tags --abbrev=0 --match 'v*' 2>/dev/null || true)}
    [[ -n $release ]] || wrong_usage "there is no release yet (no tag v*): name a commit, tests/run.sh upgrade COMMIT"
    local name
    name=$(git rev-parse --verify --quiet --short=12 "$release^{commit}") || wrong_usage "there is no commit '$release'"
    local source=build/releases/$name
    if [[ ! -x $source/build/bin/logstream ]]; then
        heading "build of $release"
        mkdir -p "$source"
        git archive "$name" | tar -x -C "$source"
        "$source/deploy/build.sh" logstream
    fi
    heading "upgrade from $release"
    run_logged build/upgrade-tests.log python3 tests/integration/run.py --release "$source/build/bin" upgrade-from
}

chaos() {
    heading chaos
    local minutes=10
    if (($# > 0)); then
        [[ $1 == --minutes ]] || wrong_usage "chaos knows --minutes N, not '$1'"
        [[ ${2:-} =~ ^[0-9]+$ ]] || wrong_usage "$1 expects a number"
        minutes=$2
    fi
    run_logged build/chaos-tests.log python3 tests/integration/run.py --minutes "$minutes" chaos
}

fuzz() {
    heading fuzz
    run_logged build/fuzz-tests.log tests/fuzz/run.sh
}

packages() {
    heading packages
    deploy/install-packages.sh --packages
    local as_root=()
    ((EUID == 0)) || as_root=(sudo)
    run_logged build/package-tests.log "${as_root[@]}" /usr/bin/python3 tests/packages/run.py
}

# Where the scenarios run: the mode that the arguments name.
mode=netns
read_mode() {
    local previous='' argument
    for argument in "$@"; do
        [[ $previous == --mode ]] && mode=$argument
        [[ $argument == --mode=* ]] && mode=${argument#--mode=}
        previous=$argument
    done
    [[ $previous != --mode ]] || wrong_usage "--mode expects netns, loopback, docker or vagrant"
    case $mode in
        netns | loopback | docker | vagrant) ;;
        *) wrong_usage "there is no mode '$mode'; there are netns, loopback, docker and vagrant" ;;
    esac
}

kind=${1:-all}
(($# > 0)) && shift
case $kind in
    -h | --help) usage; exit 0 ;;
    all | unit | sim | soak | integration | docker | kubernetes | upgrade | chaos | sanitizers | fuzz | packages | bench) ;;
    *) usage >&2; wrong_usage "unknown kind '$kind'" ;;
esac
if [[ $kind == integration ]]; then
    read_mode "$@"
elif [[ $kind == docker ]]; then
    (($# == 0)) || wrong_usage "docker takes no arguments"
    mode=docker
fi

if [[ $kind == kubernetes ]]; then
    deploy/install-packages.sh --tests
    exec tests/kubernetes/run.sh "$@"
fi
if [[ $kind == sanitizers ]]; then
    deploy/install-packages.sh --tests
    sanitizers "$@"
    echo
    finish
fi
prepare
case $kind in
    all)
        unit
        sim
        fuzz
        integration
        ;;
    unit) unit "$@" ;;
    sim) sim "$@" ;;
    soak) soak "$@" ;;
    integration) integration "$@" ;;
    docker) integration --mode docker docker-compose ;;
    upgrade) upgrade "$@" ;;
    chaos) chaos "$@" ;;
    fuzz) exec tests/fuzz/run.sh "$@" ;;
    packages) packages ;;
    bench) exec tests/bench/run.sh "$@" ;;
esac
echo
finish
