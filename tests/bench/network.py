"""Where brokers and load live: hosts in network namespaces on a bridge, or, without root, this machine's loopback."""

import itertools
import json
import os

from processes import Failure, run

_serial = itertools.count()


def namespaces_work():
    """Whether this process may make them: root may, but not in every container."""
    try:
        run(["unshare", "--net", "ip", "link", "show"])
    except (Failure, OSError):
        return False
    return True


class NamespaceNetwork:
    """Hosts 1 to `size` for brokers, and one more for the load; made and removed by deploy/netns.

    With `offload` a segment may be larger than the MTU, as between machines whose network cards cut it; without, every
    packet is one that a wire would carry.
    """

    def __init__(self, root, size, offload=True):
        self._scripts = os.path.join(root, "deploy", "netns")
        self.name = f"bench{os.getpid()}x{next(_serial)}"
        self.size = size
        flags = [] if offload else ["--no-offload"]
        self.script("setup-netns.sh", "-n", size + 1, "--subnet", "10.78.0.0/24", *flags)

    def script(self, name, *flags, seconds=120):
        """One of deploy/netns, for this network."""
        return run([os.path.join(self._scripts, name), "--name", self.name, *flags], seconds)

    def remove(self):
        self.script("cleanup.sh")

    @staticmethod
    def ip(host):
        return f"10.78.0.{host}"

    def at(self, host):
        """What to put before a command so that it runs at this host."""
        return ["ip", "netns", "exec", f"{self.name}-{host}"]

    @property
    def load_at(self):
        return self.at(self.size + 1)

    def cut(self, host):
        """No packet passes to or from this host; nobody is told."""
        rules = [f'{way} "h{host}" drop' for way in ("iifname", "oifname")]
        self._nft("table bridge cut {", "chain forward { type filter hook forward priority 0;", *rules, "}", "}")

    def mend(self):
        self._nft("delete table bridge cut")

    def count_from(self, host):
        """From now on counts what this host sends to the others: all UDP, and TCP to other brokers."""
        brokers = ", ".join(self.ip(other) for other in range(1, self.size + 1))
        self._nft(
            "table netdev wire {",
            f'chain from {{ type filter hook ingress device "h{host}" priority 0;',
            "ip protocol udp counter",
            f"ip protocol tcp ip daddr {{ {brokers} }} counter",
            "}",
            "}",
        )

    def counted(self):
        """The bytes of UDP and of TCP since then, with Ethernet headers; forgets them."""
        listed = json.loads(run([*self.at("bridge"), "nft", "-j", "list", "table", "netdev", "wire"]))["nftables"]
        self._nft("delete table netdev wire")
        counters = [
            part["counter"] for each in listed if "rule" in each for part in each["rule"]["expr"] if "counter" in part
        ]
        ethernet_header = 14
        return [counter["bytes"] + ethernet_header * counter["packets"] for counter in counters]

    def _nft(self, *lines):
        run([*self.at("bridge"), "nft", "-f", "-"], stdin="\n".join(lines))


class LoopbackNetwork:
    """All share 127.0.0.1. Says nothing of a network."""

    size = 3
    load_at = []

    def remove(self):
        pass
