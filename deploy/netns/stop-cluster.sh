#!/usr/bin/env bash
# Stops the brokers that start-cluster.sh started: in order, or by force after a time. The network and the data stay.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/netns/network.sh
source "$root/deploy/netns/network.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/netns/stop-cluster.sh [flags]

  --name NAME   of the network (default logstream)
  --data DIR    as given to start-cluster.sh (default build/netns/NAME)
  --host I      only in this host; may be repeated
  --kill        stop them at once with SIGKILL, like a crash
TEXT
}

dir='' hosts=() kill=false
while (($# > 0)); do
    case $1 in
        --name) network=$(flag_value "$@"); shift ;;
        --data) dir=$(flag_value "$@"); shift ;;
        --host) hosts+=("$(flag_value "$@")"); shift ;;
        --kill) kill=true ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
check_network
dir=${dir:-$root/build/netns/$network}
folders=()
if ((${#hosts[@]} > 0)); then
    for host in "${hosts[@]}"; do folders+=("$dir/n$host"); done
else
    for folder in "$dir"/n[0-9]*; do folders+=("$folder"); done
fi
if $kill; then
    signal_brokers KILL 10 "${folders[@]}" || die "some brokers cannot be killed"
else
    broker_stop 10 "${folders[@]}"
fi
