# Sourced by the scripts beside: Compose, whichever version there is, on compose.yaml.
# shellcheck shell=bash disable=SC2034

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/brokers.sh
source "$root/deploy/brokers.sh"

project=logstream
brokers=(n1 n2 n3)
program=() compose=()

# Sets `program`, Compose as people call it, and `compose`, that with the file and the project.
find_compose() {
    if docker compose version >/dev/null 2>&1; then
        program=(docker compose)
    elif command -v docker-compose >/dev/null; then
        program=(docker-compose)
    else
        die "Docker Compose is not installed; deploy/install-packages.sh --docker installs it"
    fi
    docker version >/dev/null 2>&1 || die "no Docker daemon answers; is it running, and are you allowed to use it (group docker)?"
    compose=("${program[@]}" --project-name "$project" --file "$root/deploy/docker/compose.yaml")
}
