#!/usr/bin/env bash
# A cluster on this machine: N brokers on loopback, without root.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/brokers.sh
source "$root/deploy/brokers.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/local/cluster.sh start|stop|status [flags] [-- FLAGS OF EACH BROKER]

  -n N                    brokers (default 3)
  --dir DIR               pid files, logs and data (default build/local)
  --port PORT             of the first broker on 127.0.0.1; the others use the following ports (default 8001)
  --cluster NAME          (default local)
  --broadcast-port PORT   (default 8888)
  --multicast GROUP:PORT  (default 239.0.0.1:9999)
  --binary FILE           (default build/bin/logstream)
  --wait SECONDS          how long to wait for one view of all brokers; 0: don't wait (default 30)

Several clusters can run side by side if they differ in --dir, --port and --cluster. `stop`, `status` and a second `start`
need only --dir: the other settings are kept there, including broker flags, until others (or none) follow `--`.
TEXT
}

count='' port='' cluster='' broadcast_port='' multicast='' binary=''
dir=$root/build/local wait_seconds=30 flags=() flags_are_new=''
command=${1:-}
(($# > 0)) && shift
while (($# > 0)); do
    case $1 in
        -n) count=$(flag_value "$@"); shift ;;
        --dir) dir=$(flag_value "$@"); shift ;;
        --port) port=$(flag_value "$@"); shift ;;
        --cluster) cluster=$(flag_value "$@"); shift ;;
        --broadcast-port) broadcast_port=$(flag_value "$@"); shift ;;
        --multicast) multicast=$(flag_value "$@"); shift ;;
        --binary) binary=$(flag_value "$@"); shift ;;
        --wait) wait_seconds=$(flag_value "$@"); shift ;;
        --) shift; flags=("$@") flags_are_new=1; break ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
[[ $wait_seconds =~ ^[0-9]{1,5}$ ]] || die "--wait expects seconds, got '$wait_seconds'" 2

# What was asked now wins over what the cluster was started with, which wins over the default.
settings=$dir/cluster
kept() { sed -n "s/^$1=//p" "$settings" 2>/dev/null || true; }
setting() {
    local asked=$1 name=$2 default=$3 before
    before=$(kept "$name")
    echo "${asked:-${before:-$default}}"
}
choose_settings() {
    count=$(setting "$count" count 3)
    port=$(setting "$port" port 8001)
    cluster=$(setting "$cluster" cluster local)
    broadcast_port=$(setting "$broadcast_port" broadcast_port 8888)
    multicast=$(setting "$multicast" multicast 239.0.0.1:9999)
    binary=$(setting "$binary" binary "$root/build/bin/logstream")
    is_count "$count" || die "-n expects a number of brokers, got '$count'" 2
    is_count "$port" || die "--port expects a port, got '$port'" 2
    [[ -n $flags_are_new ]] || mapfile -t flags < <(kept flag)
    folders=() addresses=()
    local i
    for ((i = 1; i <= count; ++i)); do
        folders+=("$dir/n$i")
        addresses+=("127.0.0.1:$((port + i - 1))")
    done
}
settings_text() {
    local name
    for name in count port cluster broadcast_port multicast binary; do printf '%s=%s\n' "$name" "${!name}"; done
    for name in "${flags[@]}"; do printf 'flag=%s\n' "$name"; done
}
ctl() { echo "${binary%/*}/logstreamctl"; }

start() {
    choose_settings
    [[ -x $binary ]] || die "there is no $binary; build it first (deploy/build.sh)"
    local folder running=() i
    for folder in "$dir"/n[0-9]*; do
        if broker_pid "$folder" >/dev/null; then running+=("$folder"); fi
    done
    if ((${#running[@]} > 0)) && [[ $(settings_text) != "$(cat "$settings" 2>/dev/null)" ]]; then
        die "the cluster in $dir runs with other settings: stop it first, or choose another --dir"
    fi
    for folder in "${running[@]}"; do
        if broker_is_outdated "$folder"; then
            echo "The programs were rebuilt: restarting the cluster." >&2
            broker_stop 10 "${running[@]}"
            break
        fi
    done
    mkdir -p "$dir"
    settings_text >"$settings"

    for i in "${!folders[@]}"; do
        broker_pid "${folders[i]}" >/dev/null && continue
        broker_start "${folders[i]}" "$binary" --address "${addresses[i]}" --name "n$((i + 1))" --cluster "$cluster" \
            --broadcast-port "$broadcast_port" --multicast "$multicast" --data "${folders[i]}/data" "${flags[@]}"
    done
    ((wait_seconds == 0)) && return
    wait_for_one_view "$wait_seconds" "$count" folders addresses "$(ctl)" || exit 1
    echo "Cluster '$cluster': $count brokers on ${addresses[*]}"
}

stop() {
    local folder running=() status=0
    for folder in "$dir"/n[0-9]*; do
        if broker_pid "$folder" >/dev/null; then running+=("$folder"); fi
    done
    ((${#running[@]} == 0)) && return
    broker_stop 10 "${running[@]}" || status=1
    echo "Stopped ${#running[@]} brokers; their data is kept in $dir"
    return "$status"
}

status() {
    [[ -e $settings ]] || die "there is no cluster in $dir"
    choose_settings
    local i pid first=''
    for i in "${!folders[@]}"; do
        if pid=$(broker_pid "${folders[i]}"); then
            echo "n$((i + 1))  ${addresses[i]}  pid $pid"
            first=${first:-${addresses[i]}}
        else
            echo "n$((i + 1))  ${addresses[i]}  not running"
        fi
    done
    [[ -n $first ]] || exit 1
    "$(ctl)" status --brokers "$first"
}

case $command in
    start | stop | status) "$command" ;;
    -h | --help) usage ;;
    '') usage >&2; exit 2 ;;
    *) usage >&2; die "unknown command '$command'" 2 ;;
esac
