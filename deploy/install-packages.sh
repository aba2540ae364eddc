#!/usr/bin/env bash
# Installs the Debian packages that building LogStream needs, and with --tests, --bench, --docker, --packages or --vagrant
# those that its tests, its benchmarks, containers, making packages of it, or virtual machines need.
# Asks for nothing and touches nothing when all are there.
set -euo pipefail

usage() {
    cat <<'TEXT'
Usage: deploy/install-packages.sh [--tests] [--bench] [--docker] [--packages] [--vagrant] [--list]

  --tests     also what the tests need
  --bench     also what the benchmarks need, including the other brokers that are measured; none of them is started
  --docker    also Docker, and what building its images without a registry needs; no daemon is started
  --packages  also what building and testing Debian packages needs
  --vagrant   also Vagrant with libvirt and QEMU, and what building a box needs; no daemon is started
  --list      print the packages without installing them
TEXT
}

build=(
    g++ cmake ninja-build ccache pkg-config
    protobuf-compiler libprotobuf-dev libuv1-dev libspdlog-dev libfmt-dev libyaml-cpp-dev libcli11-dev nlohmann-json3-dev
    libisal-dev libxxhash-dev liblz4-dev libzstd-dev libsnappy-dev zlib1g-dev libcpp-httplib-dev libsystemd-dev
    libre2-dev libncurses-dev
)
tests=(
    libgtest-dev libgmock-dev python3 python3-protobuf python3-kafka python3-lz4 python3-snappy python3-zstandard
    iproute2 nftables tcpdump strace ethtool procps util-linux python3-venv man-db
    clang-19 clang-format-19 libclang-rt-19-dev llvm-19
)
bench=(
    python3 iproute2 nftables ethtool libbenchmark-dev
    nats-server golang-go golang-github-nats-io-go-nats-dev
    redis-server libhiredis-dev
    corosync libcpg-dev
    default-jdk-headless maven
)
docker=(docker.io docker-compose debootstrap iproute2)
packages=(
    dpkg-dev file python3 lintian man-db systemd zsh fish
    debootstrap systemd-container iproute2 util-linux
)
vagrant=(
    vagrant vagrant-libvirt libvirt-daemon-system libvirt-daemon-driver-qemu libvirt-clients qemu-system-x86 qemu-utils
    dnsmasq-base iptables openssh-client debootstrap e2fsprogs iproute2
)

wanted=("${build[@]}")
list=false
while (($# > 0)); do
    case $1 in
        --tests) wanted+=("${tests[@]}") ;;
        --bench) wanted+=("${bench[@]}") ;;
        --docker) wanted+=("${docker[@]}") ;;
        --packages) wanted+=("${packages[@]}") ;;
        --vagrant) wanted+=("${vagrant[@]}") ;;
        --list) list=true ;;
        -h | --help) usage; exit 0 ;;
        *) echo "install-packages.sh: unknown argument '$1'" >&2; usage >&2; exit 2 ;;
    esac
    shift
done

if $list; then
    printf '%s\n' "${wanted[@]}"
    exit 0
fi

if ! command -v dpkg-query >/dev/null; then
    echo "install-packages.sh: this is not a Debian system; install the equivalents of: ${wanted[*]}" >&2
    exit 1
fi

# One call for all; packages that dpkg has never heard of are missing from its answer.
installed=$(dpkg-query --show --showformat='${Package} ${db:Status-Status}\n' "${wanted[@]}" 2>/dev/null |
    awk '$2 == "installed" { print $1 }' | sort -u || true)
missing=()
for package in "${wanted[@]}"; do
    grep -qxF -- "$package" <<<"$installed" || missing+=("$package")
done
((${#missing[@]} == 0)) && exit 0

as_root=()
if ((EUID != 0)); then
    if ! command -v sudo >/dev/null; then
        echo "install-packages.sh: not root and no sudo; as root, run: apt-get install -y ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi

echo "Installing ${#missing[@]} packages: ${missing[*]}" >&2
log=$(mktemp)
policy=/usr/sbin/policy-rc.d
made_policy=false
clean_up() {
    rm -f "$log"
    if $made_policy; then "${as_root[@]}" rm -f "$policy"; fi
}
trap clean_up EXIT
run() {
    if ! "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive "$@" >"$log" 2>&1; then
        tail -n 20 "$log" >&2
        echo "install-packages.sh: failed: $*" >&2
        exit 1
    fi
}
if [[ " ${missing[*]} " =~ \ (nats-server|redis-server|corosync|docker\.io|libvirt-daemon-system)\  && ! -e $policy ]]; then
    # Debian starts a server as it is installed, unless this says that nothing may be started.
    made_policy=true
    printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee "$policy" >/dev/null
    "${as_root[@]}" chmod 755 "$policy"
fi
run apt-get update
run apt-get install -y --no-install-recommends "${missing[@]}"
