#!/usr/bin/env bash
# Ends the brokers of compose.yaml in order, and removes their containers and network. The data stays in volumes.
set -euo pipefail
# shellcheck source=deploy/docker/compose.sh
source "$(dirname "${BASH_SOURCE[0]}")/compose.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/docker/stop-cluster.sh [--project NAME] [--volumes]

  --project NAME   as given to start-cluster.sh (default logstream)
  --volumes        also remove the volumes, and with them all records
TEXT
}

volumes=()
while (($# > 0)); do
    case $1 in
        --project) project=$(flag_value "$@"); shift ;;
        --volumes) volumes=(--volumes) ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
find_compose
"${compose[@]}" down "${volumes[@]}"
