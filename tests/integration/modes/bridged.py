"""A network of hosts that are network namespaces of this machine, each behind a port of one bridge, and its faults."""

import json

from place import Place
from process import run


class BridgedNetwork:
    """Hosts 1…size for brokers and one more for clients.

    Segmentation offload is off, so that the interfaces count the datagrams that a wire would carry. What makes the network
    says by `namespace`, `bridge` and `port` where it is.
    """

    broadcast_port, multicast, broker_flags = 8888, "239.0.0.1:9999", {}
    repeats = 0  # the share of datagrams that a host has to send more than once
    bridge = ""  # the namespace of the bridge

    def __init__(self, name, size, number=0):
        """Networks whose bridges are in one namespace differ in their number."""
        self.name = name
        self.size = size
        self.bridge_interface = f"br{number}"
        self.subnet = f"10.77.{number}"
        self.broadcast_address = f"{self.subnet}.255"
        self.client = size + 1
        self._cuts = set()
        self._duplicating = set()  # hosts whose packets are doubled
        self._losses = {}  # host -> nft expression of what is dropped on the way to it

    def namespace(self, host):
        """The network namespace of a host, by its name in /run/netns; its interface is eth0."""
        return f"{self.name}-{host}"

    def port(self, host):
        """The bridge's interface that the host is connected to."""
        return f"h{host}"

    def ip(self, host):
        return f"{self.subnet}.{host}"

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
            f"add table bridge {self.name}",
            f"delete table bridge {self.name}",
            f"add table bridge {self.name}",
            f"add chain bridge {self.name} forward {{ type filter hook forward priority 0; }}",
        ]
        rules += [
            f'add rule bridge {self.name} forward iifname "{self.port(a)}" oifname "{self.port(b)}" drop'
            for a, b in sorted(self._cuts)
        ]
        rules += [
            f'add rule bridge {self.name} forward oifname "{self.port(host)}" {expression} drop'
            for host, expression in self._losses.items()
        ]
        self._nft(self.bridge, *rules)

    def _nft(self, namespace, *rules):
        run(["ip", "netns", "exec", namespace, "nft", "-f", "-"], "\n".join(rules).encode())

    def narrow(self, host, rate):
        """What is sent to `host` goes no faster, and what waits for longer than 400 ms is lost; a rate of tc."""
        self._shape("add", host, "tbf", "rate", rate, "burst", "16kb", "latency", "400ms")

    def widen(self, host):
        self._shape("del", host)

    def _shape(self, action, host, *what):
        run(["ip", "netns", "exec", self.bridge, "tc", "qdisc", action, "dev", self.port(host), "root", *what])

    def tap(self, host=None):
        """Where the packets of a host (None: of all) can be seen: a place for tools, and an interface."""
        namespace, interface = (self.namespace(host), "eth0") if host else (self.bridge, self.bridge_interface)
        return Place("tap", "", 0, ["ip", "netns", "exec", namespace], namespace), interface

    def bytes_sent(self, host):
        return self._interface(host)["tx"]["bytes"]

    def bytes_received(self, host):
        return self._interface(host)["rx"]["bytes"]

    def _interface(self, host):
        return json.loads(run(["ip", "-n", self.namespace(host), "-j", "-s", "link", "show", "dev", "eth0"]))[0][
            "stats64"
        ]
