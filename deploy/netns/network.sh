# Sourced by the scripts beside: what they agree on. A network NAME is the namespaces NAME-bridge, with the bridge br0,
# and NAME-1 to NAME-N, the hosts, each with an eth0 whose other end is port h1 to hN of the bridge. Nothing is kept in
# files: what exists is asked of the kernel.
# shellcheck shell=bash

# shellcheck source=deploy/brokers.sh
source "$(dirname "${BASH_SOURCE[0]}")/../brokers.sh"

network=logstream

check_network() {
    [[ $network =~ ^[a-zA-Z0-9_][a-zA-Z0-9_-]{0,40}$ ]] || die "--name expects letters, digits, - and _, got '$network'" 2
    ((EUID == 0)) || die "network namespaces need root: sudo $0 …"
    command -v ip >/dev/null || die "there is no 'ip'; deploy/install-packages.sh --tests installs it"
}

namespaces() { ip netns list | awk '{ print $1 }' | grep -xE "$network-(bridge|[0-9]+)" || true; }
host_numbers() { namespaces | sed -n "s/^$network-\([0-9]*\)$/\1/p" | sort -n; }
host_ip() { ip -n "$network-$1" -4 -o address show dev eth0 | awk '{ sub(/\/.*/, "", $4); print $4; exit }'; }
