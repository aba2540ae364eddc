#!/usr/bin/env bash
# Removes a network with all that runs in it, whatever state it is in. Does nothing when there is none. Data stays.
set -euo pipefail
# shellcheck source=deploy/netns/network.sh
source "$(dirname "${BASH_SOURCE[0]}")/network.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/netns/cleanup.sh [--name NAME]

  --name NAME   of the network (default logstream)
TEXT
}

while (($# > 0)); do
    case $1 in
        --name) network=$(flag_value "$@"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
check_network

# A process that starts another while it is being killed is why this is done until none is left.
for namespace in $(namespaces); do
    for _ in {1..50}; do
        mapfile -t pids < <(ip netns pids "$namespace" 2>/dev/null)
        ((${#pids[@]} == 0)) && break
        kill -KILL "${pids[@]}" 2>/dev/null || true
        sleep 0.02
    done
done
for namespace in $(namespaces); do
    ip netns delete "$namespace" || die "can't remove the namespace $namespace"
done
