#!/usr/bin/env bash
# Makes a Vagrant box of Debian 12 for libvirt, for those who can't reach a catalogue of boxes: debootstrap, a kernel and
# an initrd beside the disk, which libvirt starts without a boot loader.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
# shellcheck source=deploy/vagrant/machines.sh
source "$root/deploy/vagrant/machines.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/vagrant/make-box.sh [flags]     (root: debootstrap makes device files)

  --output FILE    (default build/vagrant/debian12.box)
  --deb FILE       install this package's dependencies in the box, so that its machines can install it without a
                   network (default: the newest in build/packages, if there is one)
  --mirror URL     of Debian (default http://deb.debian.org/debian)
  --add            also add it to Vagrant as logstream/debian12, replacing an older one

The kernel is Debian's cloud kernel: it has netem, nftables and virtio, and few other drivers.
TEXT
}

output=$build/debian12.box deb='' mirror=http://deb.debian.org/debian add=false
while (($# > 0)); do
    case $1 in
        --output) output=$(flag_value "$@"); shift ;;
        --deb) deb=$(flag_value "$@"); shift ;;
        --mirror) mirror=$(flag_value "$@"); shift ;;
        --add) add=true ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
((EUID == 0)) || die "debootstrap needs root: sudo $0 …"
for program in debootstrap qemu-img mkfs.ext4 vagrant ssh-keygen; do
    command -v "$program" >/dev/null || die "there is no '$program'; deploy/install-packages.sh --vagrant installs it"
done
deb=${deb:-$(newest_deb)}

mkdir -p "$(dirname "$output")"
work=$(mktemp -d "$(dirname "$output")/box.XXXXXX")
log=$work/log
system=$work/system
finish() {
    local status=$?
    ((status == 0)) || { tail -n 20 "$log" >&2 || true; echo "make-box.sh: failed" >&2; }
    rm -rf "$work"
}
trap finish EXIT

# The public half of the key that Vagrant comes with, which it writes down at its first start.
well_known_key() {
    vagrant box list >>"$log" 2>&1
    ssh-keygen -y -f "${VAGRANT_HOME:-$HOME/.vagrant.d}/insecure_private_key"
}
inside() {
    DEBIAN_FRONTEND=noninteractive LC_ALL=C chroot "$system" "$@" >>"$log" 2>&1
}

packages=(
    systemd-sysv udev dbus openssh-server sudo ca-certificates rsync
    iproute2 nftables ethtool procps initramfs-tools zstd
)
# No service may start in the chroot, and no initrd is made before it is known what goes into it.
echo "Installing Debian 12 from $mirror" >&2
debootstrap --variant=minbase --include="$(IFS=,; echo "${packages[*]}")" bookworm "$system" "$mirror" >>"$log" 2>&1
printf '#!/bin/sh\nexit 101\n' >"$system/usr/sbin/policy-rc.d"
chmod 755 "$system/usr/sbin/policy-rc.d"
sed -i 's/^MODULES=.*/MODULES=list/' "$system/etc/initramfs-tools/initramfs.conf"
printf '%s\n' virtio_pci virtio_blk virtio_net ext4 >>"$system/etc/initramfs-tools/modules"
cp /etc/resolv.conf "$system/etc/resolv.conf"
inside apt-get install -y --no-install-recommends linux-image-cloud-amd64
if [[ -n $deb ]]; then
    echo "Installing the dependencies of ${deb##*/}" >&2
    inside apt-get satisfy -y --no-install-recommends "$(dpkg-deb --field "$deb" Depends)"
fi
# The last one: from here on names are resolved as in a running machine, and not at all in the chroot.
inside apt-get install -y --no-install-recommends systemd-resolved
inside apt-get clean
rm -rf "$system"/usr/sbin/policy-rc.d "$system"/var/lib/apt/lists/*

# What Vagrant expects of a box: its user, whose password nobody needs, and its well-known key, which it replaces.
inside useradd --create-home --shell /bin/bash vagrant
echo 'vagrant ALL=(ALL) NOPASSWD: ALL' >"$system/etc/sudoers.d/vagrant"
install -d -m 700 "$system/home/vagrant/.ssh"
well_known_key >"$system/home/vagrant/.ssh/authorized_keys"
inside chown -R vagrant:vagrant /home/vagrant/.ssh
# A key is all that is asked for; without PAM a session costs an emulated machine half as much.
inside usermod --password '*' vagrant
printf '%s\n' 'UseDNS no' 'UsePAM no' >"$system/etc/ssh/sshd_config.d/vagrant.conf"
# An emulated machine on a busy host takes its time.
install -d "$system/etc/systemd/system.conf.d"
printf '[Manager]\nDefaultTimeoutStartSec=15min\nDefaultDeviceTimeoutSec=15min\n' >"$system/etc/systemd/system.conf.d/slow.conf"

echo debian12 >"$system/etc/hostname"
printf '%s\n' '127.0.0.1 localhost' '127.0.1.1 debian12' >"$system/etc/hosts"
echo '/dev/vda / ext4 errors=remount-ro 0 1' >"$system/etc/fstab"
: >"$system/etc/machine-id"
printf '[Match]\nName=eth0\n[Network]\nDHCP=yes\n[DHCPv4]\nClientIdentifier=mac\n' >"$system/etc/systemd/network/10-eth0.network"
inside systemctl enable systemd-networkd systemd-resolved ssh
inside systemctl mask systemd-networkd-wait-online.service systemd-logind.service systemd-pstore.service getty@tty1.service \
    e2scrub_reap.service e2scrub_all.timer dpkg-db-backup.timer fstrim.timer apt-daily.timer apt-daily-upgrade.timer

echo "Creating the box's disk" >&2
mkdir "$work/box"
cp "$system"/boot/vmlinuz-* "$work/box/vmlinuz"
cp "$system"/boot/initrd.img-* "$work/box/initrd.img"
truncate -s 4G "$work/disk"
mkfs.ext4 -q -d "$system" "$work/disk" >>"$log" 2>&1
qemu-img convert -c -O qcow2 -o compression_type=zstd "$work/disk" "$work/box/box.img"
echo '{"provider": "libvirt", "format": "qcow2", "virtual_size": 4}' >"$work/box/metadata.json"
cat >"$work/box/Vagrantfile" <<'RUBY'
Vagrant.configure("2") do |config|
  config.vm.provider :libvirt do |libvirt|
    libvirt.kernel = File.expand_path("vmlinuz", __dir__)
    libvirt.initrd = File.expand_path("initrd.img", __dir__)
    # The clock is the host's, and what follows it would only slow an emulated machine down.
    libvirt.cmd_line = "root=/dev/vda rw console=ttyS0 net.ifnames=0 tsc=reliable mitigations=off quiet " \
                       "nowatchdog apparmor=0 audit=0 cryptomgr.notests"
  end
end
RUBY
tar -C "$work/box" -cf "$work/done" metadata.json Vagrantfile vmlinuz initrd.img box.img
mv "$work/done" "$output"
cp "$work/box/vmlinuz" "$build/vmlinuz"
echo "Box: $output, $(du -h "$output" | cut -f1)"
if $add; then
    vagrant box add --force --provider libvirt --name logstream/debian12 "$output" >>"$log" 2>&1
    echo "Vagrant knows it as logstream/debian12"
fi
