# Sourced by the scripts beside: what they agree on. A cluster NAME is a set of virtual machines n1, n2, …; all that is
# kept of it lies in build/vagrant/NAME.
# shellcheck shell=bash

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(cd "$here/../.." && pwd)
# shellcheck source=deploy/brokers.sh
source "$root/deploy/brokers.sh"
build=$root/build/vagrant
libvirt=$build/libvirt # the folder of a libvirtd of our own: libvirtd.sh
local_box=logstream/debian12 # what make-box.sh makes
system=qemu:///system

# What a cluster was started with: one of machines, provider, box, driver, memory, subnet, deb. Kept in build/vagrant/NAME,
# and given to the Vagrantfile by the environment.
declare -A choices=()
name_cluster() {
    [[ $1 =~ ^[a-zA-Z0-9][a-zA-Z0-9-]{0,40}$ ]] || die "--name expects letters, digits and -, got '$1'" 2
    name=$1 dir=$build/$1
    local key value
    while IFS='=' read -r key value; do
        choices[$key]=${choices[$key]:-$value}
    done < <(cat "$dir/choices" 2>/dev/null || true)
}
keep_choices() {
    mkdir -p "$dir"
    local key
    for key in "${!choices[@]}"; do printf '%s=%s\n' "$key" "${choices[$key]}"; done >"$dir/choices"
}

machine_names() { seq --format 'n%.0f' "${choices[machines]}"; }
machine_address() { echo "${choices[subnet]}.$((10 + ${1#n})):8001"; }

newest_deb() {
    # shellcheck disable=SC2012
    ls -t "$root"/build/packages/logstream_*.deb 2>/dev/null | head -n 1 || true
}

need() { command -v "$1" >/dev/null || die "there is no '$1'; deploy/install-packages.sh --vagrant installs it"; }

# The command that begins another so that it runs where the virtual machines can be reached: none, or what enters the
# namespaces of a libvirtd of our own.
reach=()
find_libvirt() {
    local pid
    reach=()
    if pid=$(broker_pid "$libvirt"); then
        reach=(nsenter --mount="/proc/$pid/ns/mnt" --net="/proc/$pid/ns/net" --pid="/proc/$pid/ns/pid_for_children"
            --wd="$PWD" --)
    fi
}

in_vagrant() {
    local key variables=()
    for key in "${!choices[@]}"; do variables+=("LOGSTREAM_${key^^}=${choices[$key]}"); done
    "${reach[@]}" env "${variables[@]}" LOGSTREAM_NAME="$name" VAGRANT_CWD="$here" VAGRANT_DOTFILE_PATH="$dir/vagrant" \
        VAGRANT_CHECKPOINT_DISABLE=1 vagrant "$@" </dev/null
}

# Whether a guest starts with KVM. That the device is there says little: it may be a kernel's that runs none but its own
# kind of guest. The box's kernel is tried, where there is one, and looked for its first words.
kvm_works() {
    [[ -r /dev/kvm && -w /dev/kvm ]] || return 1
    local kernel
    kernel=$(ls "$build/vmlinuz" /boot/vmlinuz-* 2>/dev/null | head -n 1 || true)
    if [[ -z $kernel ]]; then
        grep -qE '^flags.* (vmx|svm)( |$)' /proc/cpuinfo
        return
    fi
    timeout 20 qemu-system-x86_64 -accel kvm -m 256 -nodefaults -display none -no-reboot -serial stdio \
        -kernel "$kernel" -append 'console=ttyS0 panic=-1' </dev/null 2>/dev/null | grep -q 'Linux version'
}

# How a command is run in a machine, as root: on n1 COMMAND…
ssh_config() {
    in_vagrant ssh-config >"$dir/ssh"
    printf '%s\n' 'Host *' 'ControlMaster auto' "ControlPath $dir/%n.ssh" 'ControlPersist 60' >>"$dir/ssh"
}
on() { "${reach[@]}" ssh -F "$dir/ssh" "$1" sudo "${@:2}" </dev/null; }
