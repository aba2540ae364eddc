#!/usr/bin/env bash
# A network of N hosts on this machine: namespaces joined by a bridge, which lives in a namespace of its own.
set -euo pipefail
# shellcheck source=deploy/netns/network.sh
source "$(dirname "${BASH_SOURCE[0]}")/network.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/netns/setup-netns.sh [flags]

  -n N             hosts (default 3)
  --name NAME      of the network; its namespaces are NAME-1 to NAME-N and NAME-bridge (default logstream)
  --subnet A.B.C.0/24
                   host I has the address A.B.C.I (default 10.77.0.0/24)
  --no-offload     disable segmentation offload, so that a capture shows datagrams as on the wire

Networks with different names are isolated from each other and may use the same subnet.
TEXT
}

count=3 subnet=10.77.0.0/24 offload=true
while (($# > 0)); do
    case $1 in
        -n) count=$(flag_value "$@"); shift ;;
        --name) network=$(flag_value "$@"); shift ;;
        --subnet) subnet=$(flag_value "$@"); shift ;;
        --no-offload) offload=false ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
if ! is_count "$count" || ((count > 250)); then die "-n expects 1 to 250 hosts, got '$count'" 2; fi
[[ $subnet =~ ^(([0-9]{1,3}\.){3})0/24$ ]] || die "--subnet expects A.B.C.0/24, got '$subnet'" 2
prefix=${BASH_REMATCH[1]}
check_network
[[ -z $(namespaces) ]] || die "the network '$network' already exists; deploy/netns/cleanup.sh --name $network removes it"

# Half a network is of no use to anybody.
remove_if_failed() {
    local status=$?
    ((status == 0)) && return
    "$(dirname "${BASH_SOURCE[0]}")/cleanup.sh" --name "$network" || true
    echo "setup-netns.sh: failed; removing what was created of the network '$network'" >&2
    exit "$status"
}
trap remove_if_failed EXIT

quiet_host() {
    ip netns add "$1"
    # IPv6 would talk by itself; nobody here uses it.
    # shellcheck disable=SC2016
    ip netns exec "$1" sh -c 'for f in /proc/sys/net/ipv6/conf/*/disable_ipv6; do [ -e "$f" ] && echo 1 >"$f"; done; true'
    ip -n "$1" link set lo up
}
no_offload() {
    ip netns exec "$1" ethtool -K "$2" tso off gso off gro off tx-udp-segmentation off >/dev/null
}

bridge=$network-bridge
quiet_host "$bridge"
# Without a querier a snooping bridge would forget the groups; here it floods, as a plain switch does.
ip -n "$bridge" link add br0 type bridge mcast_snooping 0 forward_delay 0
ip -n "$bridge" link set br0 up
# Docker and libvirt load br_netfilter, which shows every frame to a firewall; a switch has none.
ip netns exec "$bridge" sh -c 'f=/proc/sys/net/bridge/bridge-nf-call-iptables; [ ! -e "$f" ] || echo 0 >"$f"'
for ((i = 1; i <= count; ++i)); do
    host=$network-$i
    quiet_host "$host"
    ip -n "$bridge" link add "h$i" type veth peer name eth0 netns "$host"
    ip -n "$bridge" link set "h$i" master br0 up
    ip -n "$host" address add "$prefix$i/24" broadcast "${prefix}255" dev eth0
    ip -n "$host" link set eth0 up
    ip -n "$host" route add 224.0.0.0/4 dev eth0
    if ! $offload; then
        no_offload "$bridge" "h$i"
        no_offload "$host" eth0
    fi
done
echo "Network '$network': ${prefix}1 to ${prefix}$count in $network-1 to $network-$count"
