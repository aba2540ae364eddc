"""Brokers on 127.0.0.1, by port: needs no root."""

import contextlib
import itertools
import os
import random
import socket
import subprocess

from checks import Failure
from modes import LocalMode, Need
from place import Place, inside
from process import run

_serial = itertools.count()


class Mode(LocalMode):
    lacks = LocalMode.lacks | dict.fromkeys(
        (Need.HOSTS, Need.PACKETS, Need.NAMESPACES, Need.SCRIPTS, Need.OWN_FILES), "all brokers share 127.0.0.1: --mode netns"
    )

    def network(self, size):
        return LoopbackNetwork(size)


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
            with inside(self._namespace):
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
