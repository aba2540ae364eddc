#!/usr/bin/env bash
# Builds the image if need be, starts the three brokers of compose.yaml, and waits until they have one view.
set -euo pipefail
# shellcheck source=deploy/docker/compose.sh
source "$(dirname "${BASH_SOURCE[0]}")/compose.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/docker/start-cluster.sh [flags]

  --project NAME   of containers, network and volumes (default logstream)
  --base-images    build the base images with debootstrap, without a registry; needs root
  --no-build       use the existing image
  --wait SECONDS   how long to wait for one view of all brokers; 0: don't wait (default 60)
TEXT
}

base_images=false build=(--build) wait_seconds=60
while (($# > 0)); do
    case $1 in
        --project) project=$(flag_value "$@"); shift ;;
        --base-images) base_images=true ;;
        --no-build) build=(--no-build) ;;
        --wait) wait_seconds=$(flag_value "$@"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
[[ $wait_seconds =~ ^[0-9]{1,5}$ ]] || die "--wait expects seconds, got '$wait_seconds'" 2
find_compose
if $base_images; then
    "$root/deploy/docker/base-images.sh"
    export BUILD_BASE=logstream-build-base RUNTIME_BASE=logstream-runtime-base
fi
"${compose[@]}" up --detach "${build[@]}" || die "the brokers did not start; if no registry is reachable, use --base-images"
((wait_seconds == 0)) && exit 0

containers=()
for broker in "${brokers[@]}"; do containers+=("$("${compose[@]}" ps --quiet "$broker")"); done
deadline=$((SECONDS + wait_seconds))
while true; do
    agreed='' problem=''
    for broker in "${brokers[@]}"; do
        said=$(view_of "$broker:8001" docker exec "${containers[0]}" logstreamctl) || said='no view'
        agreed=${agreed:-$said}
        if [[ $said != "$agreed" || $said != *" ${#brokers[@]}" ]]; then
            problem="$broker says: $said"
            break
        fi
    done
    [[ -z $problem ]] && break
    if ((SECONDS >= deadline)); then
        "${compose[@]}" logs --tail 20 >&2 || true
        die "the ${#brokers[@]} brokers did not form one view in time; $problem (view, leader, members)"
    fi
    sleep 0.5
done
echo "Cluster '$project': ${brokers[*]}, one view"
for broker in "${brokers[@]}"; do echo "  $broker  http://$("${compose[@]}" port "$broker" 9001)/"; done
cat <<TEXT

Try, in $root/deploy/docker:
  ${program[*]} exec -T n1 producer --topic hello --message 'Hello, log'
  ${program[*]} exec -T n2 consumer --topic hello
TEXT
