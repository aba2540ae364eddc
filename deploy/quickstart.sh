#!/usr/bin/env bash
# From nothing to a cluster that has carried a real log: install, build, start three brokers, send, read back, compare.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
# shellcheck source=deploy/brokers.sh
source "$root/deploy/brokers.sh"
bin=$root/build/bin
dir=$root/build/quickstart
brokers=3

usage() {
    cat <<'TEXT'
Usage: deploy/quickstart.sh [FILE]   start three brokers on this machine and send FILE through them, line by line
       deploy/quickstart.sh stop     stop them
       deploy/quickstart.sh status   show them

Without FILE, a log of this machine is used. Needs root or sudo only for installing packages. A second run uses the
cluster that the first left running. Everything is in build/: programs in build/bin, brokers' data and logs in
build/quickstart.
TEXT
}

# Whether TCP or UDP has this port on this machine.
port_is_taken() {
    local hex
    hex=$(printf ':%04X' "$1")
    awk -v port="$hex" 'FNR > 1 && substr($2, length($2) - 4) == port && (FILENAME ~ /udp/ || $4 == "0A") { found = 1 }
                        END { exit !found }' /proc/net/tcp /proc/net/tcp6 /proc/net/udp /proc/net/udp6 2>/dev/null
}

# The first free port of FIRST, FIRST + STEP, … for which also the next COUNT - 1, and these plus 1000, are free.
free_ports() {
    local first=$1 step=$2 count=$3 base i
    for ((base = first; base < first + 50 * step; base += step)); do
        for ((i = base; i < base + count; ++i)); do
            if port_is_taken "$i" || port_is_taken "$((i + 1000))"; then continue 2; fi
        done
        echo "$base"
        return
    done
    die "no free ports from $first up"
}

# The largest log that anybody may read here, up to 32 MiB; the build's own when there is none.
choose_log() {
    local file
    while IFS= read -r -d '' file; do
        file=${file#* }
        # Text only, and at least a line of it.
        if LC_ALL=C grep -qI . "$file" 2>/dev/null; then
            echo "$file"
            return
        fi
    done < <(find -L /var/log -maxdepth 2 -type f -readable -size -32M ! -name '*.gz' ! -name '*.xz' -printf '%s %p\0' 2>/dev/null |
        sort -znr)
    echo "$root/build/build.log"
}

# What the consumer should write for a file: each line ends with a newline, the last one too.
with_last_newline() {
    cat "$1"
    if (($(tail -c 1 "$1" | wc -l) == 0)); then echo; fi
}

# say STEP WHAT: what a step has done. Progress and trouble are on stderr, so that they never share its line.
say() { printf '  %-10s %s\n' "$1" "$2"; }
seconds_since() { LC_ALL=C awk -v from="${1/,/.}" -v to="${EPOCHREALTIME/,/.}" 'BEGIN { printf "%.1f s", to - from }'; }

build() {
    local from=$EPOCHREALTIME
    "$root/deploy/install-packages.sh" || exit 1
    say packages "installed ($(seconds_since "$from"))"

    from=$EPOCHREALTIME
    [[ -x $bin/logstream ]] || echo '  compiling; the first time takes several minutes' >&2
    "$root/deploy/build.sh" logstream producer consumer logstreamctl netdiag logstream-bench || exit 1
    say build "build/bin ($(seconds_since "$from"))"
}

start_cluster() {
    local from=$EPOCHREALTIME flags=() folder running=''
    for folder in "$dir"/n[0-9]*; do
        if broker_pid "$folder" >/dev/null; then running=yes; fi
    done
    if [[ -z $running ]]; then
        local port
        port=$(free_ports 8001 10 $brokers)
        # The name is this folder's and user's own, so that two quickstarts on one machine are two clusters.
        flags=(--port "$port" --cluster "quickstart-$(cksum <<<"$root $UID" | cut -d ' ' -f 1)"
            --broadcast-port "$(free_ports 8888 1 1)" --multicast "239.0.0.1:$(free_ports 9999 1 1)")
    fi
    "$root/deploy/local/cluster.sh" start -n $brokers --dir "$dir" "${flags[@]}" >/dev/null || exit 1
    first_port=$(sed -n 's/^port=//p' "$dir/cluster")
    addresses=()
    local i
    for ((i = 0; i < brokers; ++i)); do addresses+=("127.0.0.1:$((first_port + i))"); done
    say cluster "$brokers brokers on ${addresses[*]} (${running:+was running, }$(seconds_since "$from"))"
}

carry() {
    local source=$1 run from list
    run=$(($(cat "$dir/runs" 2>/dev/null || echo 0) + 1))
    echo "$run" >"$dir/runs"
    topic=quickstart-$run
    list=$(IFS=,; echo "${addresses[*]}")

    # A log grows while it is read: what is sent, and compared, is a copy.
    cat -- "$source" >"$dir/input" || die "can't read $source"

    from=$EPOCHREALTIME
    if ! "$bin/producer" --brokers "$list" --topic "$topic" --file "$dir/input" >"$dir/producer.log" 2>&1; then
        cat "$dir/producer.log" >&2
        die "the producer could not send $source"
    fi
    say sent "$(with_last_newline "$dir/input" | wc -l) lines, $(wc -c <"$dir/input") bytes of $source ($(seconds_since "$from"))"

    from=$EPOCHREALTIME
    if ! "$bin/consumer" --brokers "$list" --topic "$topic" >"$dir/output" 2>"$dir/consumer.log"; then
        cat "$dir/consumer.log" >&2
        die "the consumer could not read topic $topic"
    fi
    if ! with_last_newline "$dir/input" | cmp - "$dir/output"; then
        die "what was read back differs from what was sent: compare $dir/input and $dir/output"
    fi
    say "read back" "topic $topic, byte for byte identical ($(seconds_since "$from"))"
}

tell() {
    local i list
    list=$(IFS=,; echo "${addresses[*]}")
    printf '\nThe cluster is running; each broker shows it on its own page:\n'
    for ((i = 0; i < brokers; ++i)); do
        printf '  n%d  %s  http://127.0.0.1:%d  pid %s\n' "$((i + 1))" "${addresses[i]}" "$((first_port + i + 1000))" \
            "$(broker_pid "$dir/n$((i + 1))")"
    done
    cat <<TEXT

Try:
  cd ${root@Q}
  build/bin/producer --brokers $list --topic hello --message 'Hello, log'
  build/bin/consumer --brokers $list --topic hello
  build/bin/logstreamctl status --brokers $list
  kill -9 $(broker_pid "$dir/n1")    # any one of the three: nothing is lost; deploy/quickstart.sh starts it again

Logs and data: build/quickstart/n1 to n$brokers.   Stop: deploy/quickstart.sh stop
TEXT
}

case ${1:-} in
    -h | --help) usage; exit 0 ;;
    stop | status)
        (($# == 1)) || die "$1 takes no arguments" 2
        [[ $1 == stop && ! -e $dir/cluster ]] && exit 0
        exec "$root/deploy/local/cluster.sh" "$1" --dir "$dir"
        ;;
    -*) usage >&2; die "unknown flag '$1'" 2 ;;
esac
(($# <= 1)) || { usage >&2; die "expected one file" 2; }
if (($# == 1)); then
    [[ -f $1 && -r $1 ]] || die "there is no readable file '$1'" 2
    [[ -s $1 ]] || die "'$1' is empty: there is nothing to send" 2
fi

echo "LogStream quickstart"
build
start_cluster
carry "${1:-$(choose_log)}"
tell
