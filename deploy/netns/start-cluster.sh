#!/usr/bin/env bash
# Starts a broker in each host of a network that setup-netns.sh made, and waits until they have one view.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/netns/network.sh
source "$root/deploy/netns/network.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/netns/start-cluster.sh [flags] [-- FLAGS OF EACH BROKER]

  --name NAME      of the network (default logstream)
  --data DIR       pid files, logs and data (default build/netns/NAME)
  --host I         only in this host; may be repeated
  --port PORT      (default 8001)
  --cluster NAME   (default logstream)
  --binary FILE    (default build/bin/logstream)
  --wait SECONDS   how long to wait for one view of all brokers; 0: don't wait (default 30)

A broker that is already running is left alone. The script waits for a view of all running brokers.
TEXT
}

dir='' hosts=() port=8001 cluster=logstream binary=$root/build/bin/logstream wait_seconds=30 extra=()
while (($# > 0)); do
    case $1 in
        --name) network=$(flag_value "$@"); shift ;;
        --data) dir=$(flag_value "$@"); shift ;;
        --host) hosts+=("$(flag_value "$@")"); shift ;;
        --port) port=$(flag_value "$@"); shift ;;
        --cluster) cluster=$(flag_value "$@"); shift ;;
        --binary) binary=$(flag_value "$@"); shift ;;
        --wait) wait_seconds=$(flag_value "$@"); shift ;;
        --) shift; extra=("$@"); break ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
is_count "$port" || die "--port expects a port, got '$port'" 2
[[ $wait_seconds =~ ^[0-9]{1,5}$ ]] || die "--wait expects seconds, got '$wait_seconds'" 2
check_network
dir=${dir:-$root/build/netns/$network}
[[ -x $binary ]] || die "there is no $binary; build it first (deploy/build.sh)"
mapfile -t all < <(host_numbers)
((${#all[@]} > 0)) || die "there is no network '$network'; deploy/netns/setup-netns.sh --name $network creates it"
((${#hosts[@]} > 0)) || hosts=("${all[@]}")

for host in "${hosts[@]}"; do
    [[ " ${all[*]} " == *" $host "* ]] || die "the network '$network' has no host '$host'; it has ${all[*]}" 2
    folder=$dir/n$host
    broker_pid "$folder" >/dev/null && continue
    broker_start "$folder" ip netns exec "$network-$host" "$binary" --address "$(host_ip "$host"):$port" --name "n$host" \
        --cluster "$cluster" --data "$folder/data" "${extra[@]}"
done
((wait_seconds == 0)) && exit 0

folders=() addresses=()
for host in "${all[@]}"; do
    # Those that were to start now have to be there; others may be.
    if [[ " ${hosts[*]} " == *" $host "* ]] || broker_pid "$dir/n$host" >/dev/null; then
        folders+=("$dir/n$host")
        addresses+=("$(host_ip "$host"):$port")
    fi
done
wait_for_one_view "$wait_seconds" "${#folders[@]}" folders addresses \
    ip netns exec "$network-${all[0]}" "${binary%/*}/logstreamctl" || exit 1
echo "Cluster '$cluster' in the network '$network': ${#folders[@]} brokers on ${addresses[*]}"
