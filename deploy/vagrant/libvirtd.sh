#!/usr/bin/env bash
# A libvirtd of the project's own, for machines where none runs (containers, systems without systemd). It lives in
# namespaces of its own, with its networks and its virtual machines, and nothing of it is seen outside; they all end with it.
set -euo pipefail
# shellcheck source=deploy/vagrant/machines.sh
source "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/vagrant/libvirtd.sh start|stop|status
       deploy/vagrant/libvirtd.sh exec COMMAND…

`exec` runs a command that can reach that libvirtd, its networks and its virtual machines: virsh, vagrant, ssh.
start-cluster.sh starts it if no other libvirtd answers, and cleanup.sh stops it. Its disks are in build/vagrant/libvirt.
TEXT
}

# What runs as the first process of the namespaces; it ends when the daemon does.
inside() {
    mount -t sysfs sysfs /sys
    mount -t tmpfs -o mode=755 tmpfs /run
    local name
    for name in lib cache log; do
        mkdir -p "$libvirt/$name" "/var/$name/libvirt"
        mount --bind "$libvirt/$name" "/var/$name/libvirt"
    done
    mount --bind "$libvirt/etc" /etc/libvirt
    ip link set lo up
    # A switch has no firewall: what passes a bridge is nothing to iptables.
    local bridged=/proc/sys/net/bridge/bridge-nf-call-iptables
    [[ ! -e $bridged ]] || echo 0 >"$bridged"
    virtlogd &
    libvirtd &
    wait -n
}

start() {
    ((EUID == 0)) || die "namespaces need root: sudo $0 start"
    command -v libvirtd >/dev/null || die "libvirtd is not installed; deploy/install-packages.sh --vagrant installs it"
    broker_pid "$libvirt" >/dev/null && return
    mkdir -p "$libvirt/etc/qemu/networks/autostart" /etc/libvirt
    cat >"$libvirt/etc/qemu.conf" <<'TEXT'
user = "root"
group = "root"
security_driver = "none"
namespaces = []
cgroup_controllers = []
remember_owner = 0
TEXT
    printf 'auth_unix_rw = "none"\n' >"$libvirt/etc/libvirtd.conf"
    broker_start "$libvirt" unshare --mount --net --pid --fork --kill-child --mount-proc \
        "$BASH" "${BASH_SOURCE[0]}" inside
    local end=$((SECONDS + 30))
    find_libvirt
    until "${reach[@]}" virsh --connect "$system" uri >/dev/null 2>&1; do
        broker_pid "$libvirt" >/dev/null || die "libvirtd has ended; its log is $libvirt/broker.log"
        ((SECONDS < end)) || die "libvirtd does not answer; its log is $libvirt/broker.log"
        sleep 0.1
    done
    # Vagrant puts its disks into the pool of this name.
    ask pool-info default >/dev/null 2>&1 && return
    mkdir -p "$libvirt/lib/images"
    ask pool-define-as default dir --target /var/lib/libvirt/images
    ask pool-start default
    ask pool-autostart default
}
ask() { "${reach[@]}" virsh --quiet --connect "$system" "$@"; }

stop() { signal_brokers KILL 30 "$libvirt" || die "libvirtd cannot be stopped"; }

status() {
    local pid
    pid=$(broker_pid "$libvirt") || die "libvirtd is not running"
    echo "libvirtd is running, pid $pid"
}

case ${1:-} in
    start | stop | status | inside) "$1" ;;
    exec) shift; find_libvirt; ((${#reach[@]} > 0)) || die "libvirtd is not running"; "${reach[@]}" "$@" ;;
    -h | --help) usage ;;
    '') usage >&2; exit 2 ;;
    *) usage >&2; die "unknown command '$1'" 2 ;;
esac
