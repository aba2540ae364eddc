"""Brokers in virtual machines that deploy/vagrant starts from the Debian package: needs root.

The machines serve all scenarios of a run, since they take minutes to start. All that they send to each other passes netem,
but not what the runner itself asks them. The programs are those that the package has installed.
"""

import fcntl
import os
import re
import subprocess

from checks import Failure
from modes import LocalMode, Need
from modes.machine import Machine, MachinePlace
from process import run

NAME = "tests"
MACHINES = 3
SUBNET = "192.168.61"
# What is sent by one machine to the others: late, now and then lost, doubled, or before what was sent earlier.
NETEM = "delay 20ms 2ms loss 5% duplicate 1% reorder 2%"
START_SECONDS = 3600
BROKERS_SECONDS = 600
# How many times as long as elsewhere things may take: lost packets are sent again, and an emulated processor is slow.
UNDER_NETEM, EMULATED = 2, 10
INSTALLED = {"producer": "logstream-producer", "consumer": "logstream-consumer"}
# Scenarios whose loads and figures are meant for such machines, too.
HELD = (
    "single", "trio", "sequence", "producer-consumer", "election-automatic", "stream-failover", "view-sync",
    "state-exchange", "client-cleanup",
)  # fmt: skip


class Mode(LocalMode):
    lacks = {
        Need.PACKETS: "tcpdump runs on this machine: --mode netns",
        Need.FILES: "they are those of another machine: --mode netns",
        Need.OWN_FILES: "the broker's files are another machine's: --mode netns",
        Need.NAMESPACES: "its hosts are virtual machines: --mode netns",
        Need.SCRIPTS: "its hosts are virtual machines: --mode netns",
        Need.LOOPBACK: "its hosts are virtual machines: --mode loopback",
        Need.DOCKER: "--mode docker",
    }

    def __init__(self, options, folder):
        super().__init__(options, folder)
        self._scripts = os.path.join(options.project, "deploy", "vagrant")
        self._state = os.path.join(options.project, "build", "vagrant", NAME)
        self._keep, self._folder = options.keep, folder
        self._namespace = ""
        self.machines = {}
        os.makedirs(os.path.dirname(self._state), exist_ok=True)
        self._lock = open(f"{self._state}.lock", "w", encoding="ascii")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise Failure("the machines are in use by another run of the tests; wait for its end") from None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def skips(self, name):
        return None if name in HELD else "its loads and figures are for hosts without loss and delay: --mode netns"

    def _script(self, name, *words):
        command = [os.path.join(self._scripts, name), "--name", NAME, *map(str, words)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=START_SECONDS, check=False)
        if done.returncode != 0:
            raise Failure(f"{name} failed; see above")

    def _start(self):
        if not self._keep:
            self._script("cleanup.sh")
        words = ["--make-box", "--machines", MACHINES, "--subnet", SUBNET, "--deb", self._package()]
        self._script("start-cluster.sh", *words, "--wait", BROKERS_SECONDS)
        with open(os.path.join(self._state, "choices"), encoding="utf-8") as file:
            self.patience = EMULATED if "driver=qemu" in file.read().split() else UNDER_NETEM
        self._enter_network()
        for number in range(1, MACHINES + 1):
            ip = f"{SUBNET}.{10 + number}"
            machine = Machine(f"n{number}", os.path.join(self._state, "ssh"), self._namespace, ip, f"{SUBNET}.1")
            self.machines[number] = machine
            machine.prepare()
            disturb(machine)

    def _package(self):
        """The package to install: what $LOGSTREAM_TEST_DEB names, or one made of these sources now."""
        named = os.environ.get("LOGSTREAM_TEST_DEB")
        if named:
            return os.path.abspath(named)
        made = run([os.path.join(self.project, "deploy", "package.sh")], seconds=START_SECONDS).splitlines()
        return next(path for path in made if os.path.basename(path).startswith("logstream_"))

    def _enter_network(self):
        """Gives the network of the project's own libvirtd, if that is where the machines are, a name."""
        asked = subprocess.run(
            [os.path.join(self._scripts, "libvirtd.sh"), "status"], capture_output=True, text=True, check=False
        )
        found = re.search(r"pid (\d+)", asked.stdout)
        if found:
            self._namespace = f"ls{os.getpid()}x0-vagrant"
            run(["ip", "netns", "attach", self._namespace, found[1]])

    def program(self, name):
        return f"/usr/bin/{INSTALLED.get(name, name)}"

    def network(self, size):
        return MachineNetwork(size, self.machines, self._folder)

    def close(self):
        for machine in self.machines.values():
            machine.close()
        if self._namespace:
            subprocess.run(["ip", "netns", "delete", self._namespace], capture_output=True, check=False)
        if not self._keep:
            self._script("cleanup.sh")
        self._lock.close()


def disturb(machine):
    """Netem for all that a machine sends to others. What it answers to the runner goes its own, straight way."""
    device = f"dev {machine.interface}"
    machine.do(f"ethtool -K {machine.interface} tso off gso off gro off tx-udp-segmentation off || true")
    machine.do(f"tc qdisc delete {device} root 2>/dev/null || true")
    machine.do(f"tc qdisc add {device} root handle 1: prio bands 2 priomap {' '.join('1' * 16)}")
    machine.do(f"tc qdisc add {device} parent 1:2 handle 2: netem limit 100000 {NETEM}")
    observer = f"match ip dst {machine.observer}/32"
    machine.do(f"tc filter add {device} parent 1: protocol ip prio 1 u32 {observer} flowid 1:1")


class MachineNetwork:
    """Hosts are machines, and beyond these one more broker of each, at the next port. Clients have the next place, and share
    its machine. Faults are nftables' in the machine that receives, and hit all that is on it."""

    broadcast_port, multicast, broker_flags = 8888, "239.0.0.1:9999", {}
    broadcast_address = f"{SUBNET}.255"
    repeats = 0.1  # netem's duplicates, and what is asked for again though it only came late

    def __init__(self, size, machines, folder):
        self.size, self.client = size, size + 1
        self._machines, self._folder = machines, folder
        self._cuts, self._losses, self._duplicating = set(), {}, {}
        self._faulty = set()  # machines that have rules now

    @staticmethod
    def _number(host):
        return (host - 1) % MACHINES + 1

    def place(self, host):
        machine, port = self._machines[self._number(host)], 8001 + (host - 1) // MACHINES
        return MachinePlace(f"n{host}", machine.ip, port, machine.ssh, machine.namespace, machine)

    def cut(self, host, others=None):
        """No packet passes between `host` and `others` (None: all), clients included."""
        one = self._number(host)
        peers = self._machines if others is None else map(self._number, others)
        self._cuts |= {pair for peer in peers if peer != one for pair in ((one, peer), (peer, one))}
        self._apply()

    def cut_one_way(self, sender, receiver):
        """Nothing that `sender` sends reaches `receiver`; what `receiver` sends does reach `sender`."""
        self._cuts.add((self._number(sender), self._number(receiver)))
        self._apply()

    def lose(self, host, expression):
        """Packets to `host` that match are dropped; an nft expression, as in 'udp dport 9999 numgen random mod 100 < 5'."""
        self._losses[self._number(host)] = expression
        self._apply()

    def duplicate(self, host, percent):
        """So many of the UDP packets that `host` sends arrive twice."""
        self._duplicating[self._number(host)] = percent
        self._apply()

    def mend_cuts(self):
        self._cuts.clear()
        self._apply()

    def heal(self):
        """No cut, no loss and no duplicates any more, but for netem's."""
        self._losses.clear()
        self._duplicating.clear()
        self.mend_cuts()

    def _apply(self):
        wanted = {host: self._rules(host) for host in self._machines}
        for host, rules in wanted.items():
            if rules or host in self._faulty:
                again = ["add table netdev faults", "delete table netdev faults"]
                self._machines[host].nft(*again, *rules)
        self._faulty = {host for host, rules in wanted.items() if rules}

    def _rules(self, host):
        device = self._machines[host].interface
        senders = [self._machines[sender].ip for sender, receiver in sorted(self._cuts) if receiver == host]
        incoming = [f"ip saddr {{ {', '.join(senders)} }} drop"] if senders else []
        incoming += [f"{self._losses[host]} drop"] if host in self._losses else []
        outgoing = []
        if host in self._duplicating:
            outgoing = [f"ip protocol udp numgen random mod 100 < {self._duplicating[host]} dup to {device}"]
        chains = []
        for hook, rules in (("ingress", incoming), ("egress", outgoing)):
            if rules:
                kind = f"type filter hook {hook} device {device} priority 0;"
                chains.append("\n".join([f"chain {hook} {{ {kind}", *rules, "}"]))
        return ["table netdev faults {", *chains, "}"] if chains else []

    def bytes_sent(self, host):
        return self._count(host, "tx_bytes")

    def bytes_received(self, host):
        return self._count(host, "rx_bytes")

    def _count(self, host, counter):
        machine = self._machines[self._number(host)]
        return int(machine.do(f"cat /sys/class/net/{machine.interface}/statistics/{counter}"))

    def remove(self):
        self.heal()
        for machine in self._machines.values():
            machine.clear(self._folder)
