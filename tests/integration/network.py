"""Where the brokers of a scenario live: hosts in network namespaces, or ports of this machine's loopback.

Both give: place(i), an address and what to put before a command so that it runs there; connect(); remove().
"""

import contextlib
import ctypes
import itertools
import json
import os
import random
import re
import shutil
import socket
import subprocess
from dataclasses import dataclass

from checks import Failure
from process import run

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_serial = itertools.count()


@dataclass
class Place:
    name: str
    ip: str
    port: int
    prefix: list  # of a command line, so that it runs here
    namespace: str = ""

    @property
    def address(self):
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"


@contextlib.contextmanager
def _inside(namespace):
    """Sockets made within belong to the namespace, for good."""
    if not namespace:
        yield
        return
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as there:
        if _libc.setns(there.fileno(), _CLONE_NEWNET) != 0:
            raise Failure(f"can't enter the namespace {namespace}: {os.strerror(ctypes.get_errno())}")
        try:
            yield
        finally:
            if _libc.setns(home.fileno(), _CLONE_NEWNET) != 0:
                raise SystemExit("can't come back from a network namespace")


def connect(place, address, seconds):
    """A TCP connection from `place`."""
    with _inside(place.namespace):
        # A link-local address names an interface, which only those within know.
        family, _, _, _, address = socket.getaddrinfo(*address, type=socket.SOCK_STREAM)[0]
        connection = socket.socket(family, socket.SOCK_STREAM)
    try:
        connection.settimeout(seconds)
        connection.connect(address)
    except OSError:
        connection.close()
        raise
    return connection


def datagram_socket(place):
    """A UDP socket at `place` that may broadcast and multicast."""
    with _inside(place.namespace):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
    sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(place.ip))
    return sender


def listen(place):
    """A TCP socket that takes connections at a free port of `place`."""
    with _inside(place.namespace):
        listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    listener.bind((place.ip, 0))
    listener.listen()
    return listener


def remove_leftovers():
    """Removes the namespaces of runs that were killed before they could clean up; their processes died with them."""
    for line in run(["ip", "netns", "list"]).splitlines():
        found = re.match(r"ls(\d+)x\d+-", line)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            shutil.rmtree(f"/etc/netns/{line.split()[0]}", ignore_errors=True)
            subprocess.run(["ip", "netns", "delete", line.split()[0]], capture_output=True, check=False)


class NamespaceNetwork:
    """Hosts 1…size and one more for clients, each a namespace, on a bridge in a namespace of its own, made by
    deploy/netns. The bridge is reached from nowhere else, so that every network may have the same subnet.

    Segmentation offload is off, so that the interfaces count the datagrams that a wire would carry.
    """

    def __init__(self, size, scripts):
        self.name = f"ls{os.getpid()}x{next(_serial)}"
        self.size = size
        self.client = size + 1
        self.bridge = f"{self.name}-bridge"
        self.broadcast_port, self.multicast, self.broker_flags = 8888, "239.0.0.1:9999", {}
        self.broadcast_address = "10.77.0.255"
        self._scripts = scripts
        self._cuts = set()
        self._duplicating = set()  # hosts whose packets are doubled
        self._with_names = set()  # hosts that have names of their own
        self._losses = {}  # host -> nft expression of what is dropped on the way to it
        try:
            run([os.path.join(scripts, "setup-netns.sh"), "--name", self.name, "-n", size + 1, "--no-offload"])
        except BaseException:
            self.remove()
            raise

    def namespace(self, host):
        return f"{self.name}-{host}"

    def ip(self, host):
        return f"10.77.0.{host}"

    def place(self, host):
        namespace = self.namespace(host)
        return Place(f"n{host}", self.ip(host), 8001, ["ip", "netns", "exec", namespace], namespace)

    def remove(self):
        for host in self._with_names:
            shutil.rmtree(f"/etc/netns/{self.namespace(host)}", ignore_errors=True)
        run([os.path.join(self._scripts, "cleanup.sh"), "--name", self.name])

    def inside(self, host, *words):
        """Runs a short command on a host; its stdout."""
        return run(["ip", "netns", "exec", self.namespace(host), *words])

    def set_names(self, host, names):
        """What names stand for on a host, for processes that run and those to come: {name: [address, …]}. Before the
        first process there that is to know of a change: it is the host's /etc/hosts."""
        self._with_names.add(host)
        folder = f"/etc/netns/{self.namespace(host)}"
        os.makedirs(folder, exist_ok=True)
        for file, text in (
            ("nsswitch.conf", "hosts: files\n"),
            ("host.conf", "multi on\n"),
            ("hosts", "".join(f"{ip} {name}\n" for name, ips in names.items() for ip in ips)),
        ):
            # In place: it is mounted over the system's where processes run already.
            with open(os.path.join(folder, file), "w", encoding="ascii") as out:
                out.write(text)

    def cut(self, host, others=None):
        """No packet passes between `host` and `others` (None: all), clients included."""
        peers = range(1, self.client + 1) if others is None else others
        self._cuts |= {pair for peer in peers if peer != host for pair in ((host, peer), (peer, host))}
        self._apply()

    def cut_one_way(self, sender, receiver):
        """Nothing that `sender` sends reaches `receiver`; what `receiver` sends does reach `sender`."""
        self._cuts.add((sender, receiver))
        self._apply()

    def lose(self, host, expression):
        """Packets to `host` that match are dropped; an nft expression, as in 'udp dport 9999 numgen random mod 100 < 5'."""
        self._losses[host] = expression
        self._apply()

    def duplicate(self, host, percent):
        """So many of the UDP packets that `host` sends arrive twice."""
        self._duplicating.add(host)
        self._nft(
            self.namespace(host),
            "table netdev faults {",
            "chain egress { type filter hook egress device eth0 priority 0;",
            f"ip protocol udp numgen random mod 100 < {percent} dup to eth0",
            "}",
            "}",
        )

    def mend_cuts(self):
        self._cuts.clear()
        self._apply()

    def heal(self):
        """No cut, no loss and no duplicates any more."""
        for host in self._duplicating:
            self._nft(self.namespace(host), "delete table netdev faults")
        self._duplicating.clear()
        self._losses.clear()
        self.mend_cuts()

    def _apply(self):
        """All rules at once, in the bridge."""
        rules = [
            "add table bridge faults",
            "delete table bridge faults",
            "add table bridge faults",
            "add chain bridge faults forward { type filter hook forward priority 0; }",
        ]
        rules += [f'add rule bridge faults forward iifname "h{a}" oifname "h{b}" drop' for a, b in sorted(self._cuts)]
        rules += [
            f'add rule bridge faults forward oifname "h{host}" {expression} drop'
            for host, expression in self._losses.items()
        ]
        self._nft(self.bridge, *rules)

    def _nft(self, namespace, *rules):
        run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], "\n".join(rules).encode())

    def bytes_sent(self, host):
        return self._interface(host)["tx"]["bytes"]

    def bytes_received(self, host):
        return self._interface(host)["rx"]["bytes"]

    def _interface(self, host):
        return json.loads(run(["ip", "-n", self.namespace(host), "-j", "-s", "link", "show", "dev", "eth0"]))[0][
            "stats64"
        ]


class Ipv6Network(NamespaceNetwork):
    """The same hosts with IPv6 addresses in place of IPv4 ones; those in `both` keep theirs, too."""

    def __init__(self, size, scripts, both=()):
        super().__init__(size, scripts)
        self.multicast = None  # the broker's own choice
        try:
            for host in range(1, size + 2):
                self._turn(host, keep_v4=host in both)
        except BaseException:
            self.remove()
            raise

    def _turn(self, host, keep_v4):
        for interface in ("all", "default", "lo", "eth0"):
            self.inside(host, "sh", "-c", f"echo 0 >/proc/sys/net/ipv6/conf/{interface}/disable_ipv6")
        if not keep_v4:
            self.inside(host, "ip", "-4", "address", "flush", "dev", "eth0")
        # The namespace is ours alone: nobody else can have the address.
        self.inside(host, "ip", "address", "add", f"{self.ip(host)}/64", "dev", "eth0", "nodad")

    def ip(self, host):
        return f"fd77::{host}"

    def v4_place(self, host):
        namespace = self.namespace(host)
        return Place(f"n{host}", super().ip(host), 8001, ["ip", "netns", "exec", namespace], namespace)


class LoopbackNetwork:
    """All on 127.0.0.1, brokers by port: needs no root. Root has a namespace made for it, without any network."""

    def __init__(self, size):
        self.size = size
        self.client = 0
        self.before = []  # words before each command
        self._namespace = f"ls{os.getpid()}x{next(_serial)}-lo" if os.geteuid() == 0 else ""
        try:
            if self._namespace:
                run(["ip", "netns", "add", self._namespace])
                run(["ip", "-n", self._namespace, "link", "set", "lo", "up"])
            with _inside(self._namespace):
                self._base = self._free_ports(size + 3)
        except BaseException:
            self.remove()
            raise
        self.broker_flags = {"--http": "off"}  # its ports would have to be free, too
        self.broadcast_port = self._base + size + 1
        self.multicast = f"239.{self._base >> 8}.{self._base & 0xFF}.1:{self._base + size + 2}"

    @staticmethod
    def _free_ports(count):
        """The first of `count` ports in a row that nobody has, below those that the kernel gives to clients."""
        for _ in range(1000):
            base = random.randrange(10_000, 30_000)
            try:
                with contextlib.ExitStack() as stack:
                    for port in range(base, base + count):
                        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                            stack.enter_context(socket.socket(socket.AF_INET, kind)).bind(("127.0.0.1", port))
                return base
            except OSError:
                continue
        raise Failure(f"no {count} free ports in a row on 127.0.0.1")

    def place(self, host):
        enter = ["ip", "netns", "exec", self._namespace] if self._namespace else []
        return Place(f"n{host}", "127.0.0.1", self._base + host, enter + self.before, self._namespace)

    def remove(self):
        if self._namespace:
            subprocess.run(["ip", "netns", "delete", self._namespace], capture_output=True, check=False)
