"""Brokers on hosts that are network namespaces, made by deploy/netns: needs root."""

import itertools
import os

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
        try:
            run([os.path.join(scripts, "setup-netns.sh"), "--name", self.name, "-n", size + 1, "--no-offload"])
        except BaseException:
            self.remove()
            raise

    def place(self, host):
        namespace = self.namespace(host)
        return Place(f"n{host}", self.ip(host), 8001, ["ip", "netns", "exec", namespace], namespace)

    def remove(self):
        run([os.path.join(self._scripts, "cleanup.sh"), "--name", self.name])
