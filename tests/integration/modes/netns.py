"""Brokers on hosts that are network namespaces, made by deploy/netns: needs root."""

import itertools
import os
import shutil

from modes import LocalMode
from modes.bridged import BridgedNetwork
from place import Place
from process import run

_serial = itertools.count()


class Mode(LocalMode):
    def network(self, size):
        return NamespaceNetwork(size, os.path.join(self.project, "deploy", "netns"))


class NamespaceNetwork(BridgedNetwork):
    """The bridge is in a namespace of its own and is reached from nowhere else, so that every network may have the same
    subnet."""

    def __init__(self, size, scripts):
        super().__init__(f"ls{os.getpid()}x{next(_serial)}", size)
        self.bridge = f"{self.name}-bridge"
        self._scripts = scripts
        self._with_names = set()  # hosts that have names of their own
        try:
            run([os.path.join(scripts, "setup-netns.sh"), "--name", self.name, "-n", size + 1, "--no-offload"])
        except BaseException:
            self.remove()
            raise

    def place(self, host):
        namespace = self.namespace(host)
        return Place(f"n{host}", self.ip(host), 8001, ["ip", "netns", "exec", namespace], namespace)

    def remove(self):
        for host in self._with_names:
            shutil.rmtree(self._files_of(host), ignore_errors=True)
        run([os.path.join(self._scripts, "cleanup.sh"), "--name", self.name])

    def inside(self, host, *words):
        """Runs a short command on a host; its stdout."""
        return self.place(host).run(words)

    def _files_of(self, host):
        """Where `ip netns exec` finds what it puts over the files of /etc."""
        return f"/etc/netns/{self.namespace(host)}"

    def set_names(self, host, names):
        """What names stand for on a host: {name: [address, …]}. Programs that it runs by then hear of a change; those that
        were there before the first call do not."""
        self._with_names.add(host)
        folder = self._files_of(host)
        os.makedirs(folder, exist_ok=True)
        for file, text in (
            ("nsswitch.conf", "hosts: files\n"),
            ("host.conf", "multi on\n"),
            ("hosts", "".join(f"{ip} {name}\n" for name, ips in names.items() for ip in ips)),
        ):
            # In place: it is mounted over the system's where programs run already.
            with open(os.path.join(folder, file), "w", encoding="ascii") as out:
                out.write(text)


class Ipv6Network(NamespaceNetwork):
    """The same hosts with IPv6 addresses in place of IPv4 ones; those in `both` keep theirs, too."""

    multicast = None  # the broker's own choice

    def __init__(self, size, scripts, both=()):
        super().__init__(size, scripts)
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
