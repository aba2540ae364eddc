#!/usr/bin/env bash
# Starts virtual machines with a broker in each, and waits until these have one view.
set -euo pipefail
# shellcheck source=deploy/vagrant/machines.sh
source "$(dirname "${BASH_SOURCE[0]}")/machines.sh"

usage() {
    cat <<'TEXT'
Usage: deploy/vagrant/start-cluster.sh [flags]

  --name NAME        of the cluster; its files are in build/vagrant/NAME (default logstream)
  --machines N       n1, n2, … (default 3)
  --provider NAME    libvirt or virtualbox (default libvirt)
  --box NAME         (default generic/debian12, or logstream/debian12 if make-box.sh --add has added it)
  --make-box         if no box is named and Vagrant has neither of these, build one here first (root)
  --driver NAME      libvirt driver: kvm, or qemu for emulation (default kvm if a guest starts with it)
  --memory MB        of each machine (default 512)
  --subnet A.B.C     machine I has the address A.B.C.(10 + I) (default 192.168.60)
  --deb FILE         the package (default the newest in build/packages, built if there is none)
  --bare             machines only: no package, no broker
  --wait SECONDS     how long to wait for one view of all brokers (default 120)

A machine that is already running is left alone, and a cluster's flags are remembered from its first start.
If no libvirtd answers and you are root, one is started: deploy/vagrant/libvirtd.sh.
TEXT
}

cluster=logstream bare=false make_box=false wait_seconds=120
while (($# > 0)); do
    case $1 in
        --machines | --provider | --box | --driver | --memory | --subnet | --deb)
            choices[${1#--}]=$(flag_value "$@")
            shift
            ;;
        --name) cluster=$(flag_value "$@"); shift ;;
        --bare) bare=true ;;
        --make-box) make_box=true ;;
        --wait) wait_seconds=$(flag_value "$@"); shift ;;
        -h | --help) usage; exit 0 ;;
        *) usage >&2; die "unknown argument '$1'" 2 ;;
    esac
    shift
done
name_cluster "$cluster"
[[ $wait_seconds =~ ^[0-9]{1,5}$ ]] || die "--wait expects seconds, got '$wait_seconds'" 2

choose() { choices[$1]=${choices[$1]:-$2}; }
choose machines 3
choose provider libvirt
choose memory 512
choose subnet 192.168.60
is_count "${choices[machines]}" && ((choices[machines] <= 200)) || die "--machines expects 1 to 200, got '${choices[machines]}'" 2
is_count "${choices[memory]}" || die "--memory expects megabytes, got '${choices[memory]}'" 2
[[ ${choices[subnet]} =~ ^([0-9]{1,3}\.){2}[0-9]{1,3}$ ]] || die "--subnet expects A.B.C, got '${choices[subnet]}'" 2
need vagrant
if [[ ${choices[provider]} == libvirt ]]; then
    need virsh
    virsh --connect "$system" uri >/dev/null 2>&1 || "$here/libvirtd.sh" start
    [[ -n ${choices[driver]:-} ]] || if kvm_works; then choose driver kvm; else choose driver qemu; fi
    [[ ${choices[driver]} =~ ^(kvm|qemu)$ ]] || die "--driver expects kvm or qemu, got '${choices[driver]}'" 2
elif [[ ${choices[provider]} != virtualbox ]]; then
    die "--provider expects libvirt or virtualbox, got '${choices[provider]}'" 2
fi
find_libvirt
if $bare; then
    choices[deb]=
elif [[ -z ${choices[deb]:-} ]]; then
    [[ -n $(newest_deb) ]] || "$root/deploy/package.sh" >/dev/null
    choices[deb]=$(newest_deb)
fi
has_box() { in_vagrant box list 2>/dev/null | grep -q "^$1 .*(${choices[provider]}"; }
if [[ -z ${choices[box]:-} ]]; then
    if $make_box && ! has_box "$local_box" && ! has_box generic/debian12; then
        "$here/make-box.sh" --add ${choices[deb]:+--deb "${choices[deb]}"}
    fi
    if has_box "$local_box"; then choose box "$local_box"; else choose box generic/debian12; fi
fi
keep_choices

# The first one makes the networks and the copy of the box that the others find; those may start side by side.
for machine in n1 ''; do
    # shellcheck disable=SC2086
    in_vagrant up $machine --provider "${choices[provider]}" || die "Vagrant could not start the machines; see above"
done
ssh_config
$bare && exit 0

# What a broker says of its view, asked in its own machine.
view_in() { view_of "$(machine_address "$1")" "${reach[@]}" ssh -n -F "$dir/ssh" "$1" logstreamctl; }

mapfile -t machines < <(machine_names)
end=$((SECONDS + wait_seconds))
while true; do
    agreed=''
    for machine in "${machines[@]}"; do
        said=$(view_in "$machine") || said='no view'
        agreed=${agreed:-$said}
        [[ $said == "$agreed" && $said == *" ${#machines[@]}" ]] || break
        [[ $machine != "${machines[-1]}" ]] || break 2
    done
    ((SECONDS < end)) || die "the ${#machines[@]} brokers did not form one view in time; $machine says: $said (view, leader, members)"
    sleep 0.5
done
echo "Cluster '$name': brokers on $(for machine in "${machines[@]}"; do machine_address "$machine"; done | tr '\n' ' ')"
