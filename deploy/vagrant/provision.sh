#!/bin/sh
# Run by Vagrant in a machine, as root: installs the package and starts its service.
# Usage: provision.sh FILE.deb NAME ADDRESS MACHINES
set -eu

package=$1 name=$2 address=$3 machines=$4

echo "$name" >/etc/hostname
hostname "$name"
grep -q "127.0.1.1 $name" /etc/hosts || echo "127.0.1.1 $name" >>/etc/hosts

# Which of its addresses the broker takes, and that a new cluster waits for all machines: they start one after the other.
mkdir -p /etc/systemd/system/logstream.service.d
cat >/etc/systemd/system/logstream.service.d/vagrant.conf <<TEXT
[Service]
Environment=NODE_ADDRESS=$address:8001
ExecStart=
ExecStart=/usr/bin/logstream --config /etc/logstream/logstream.yaml --set cluster.expect=$machines
TEXT

install() { DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends --reinstall "$package"; }
# A box that has what the package depends on needs no network for it.
if ! install >/tmp/install.log 2>&1 && ! { apt-get update && install; } >/tmp/install.log 2>&1; then
    tail -n 20 /tmp/install.log >&2
    echo "provision.sh: can't install $package" >&2
    exit 1
fi
systemctl daemon-reload
systemctl enable --quiet logstream
# Ready comes with a view, which the other machines may have to come for: nobody waits for it here.
systemctl restart --no-block logstream
