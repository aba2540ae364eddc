"""A place where programs of a scenario run: a host, a container, a machine, or this machine itself.

A mode gives places of its own by a class with the methods of Place. `start` is all that a program needs; a broker may be
given more (a container of its own, a service of its machine). What `tools` gives runs this machine's own programs (tcpdump,
nft, strace) in the network of the place.
"""

import contextlib
import ctypes
import os
import socket
from dataclasses import dataclass

from checks import Failure
from process import Process, run

_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
# What the caller has set for a broker or a client of its own must not reach those of the tests.
PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
ENVIRONMENT = {key: os.environ[key] for key in PASSED_ON if key in os.environ}


@contextlib.contextmanager
def inside(namespace):
    """Sockets made within belong to the network namespace, for good."""
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


@dataclass
class Place:
    name: str
    ip: str
    port: int
    prefix: list  # of a command line, so that it runs here
    namespace: str = ""  # of the network, by its name in /run/netns

    @property
    def address(self):
        return f"[{self.ip}]:{self.port}" if ":" in self.ip else f"{self.ip}:{self.port}"

    # Programs. `name` is that of their files of stdout and stderr in `folder`; `environment` is more than the tests' own.

    def start(self, argv, name, folder, stdin=None, environment=None):
        """Starts a program; a Process."""
        contexts = {"XDG_CONFIG_HOME": folder}  # those of the caller are not the tests'
        return Process(self.prefix + argv, name, folder, stdin, ENVIRONMENT | contexts | (environment or {}))

    def start_broker(self, argv, name, folder, environment=None):
        """Starts a broker; a Process whose pid is the broker's."""
        return self.start(argv, name, folder, environment=environment)

    def tools(self):
        """The place where this machine's own programs run, in the network of this one."""
        return self

    def run(self, argv, stdin=b""):
        """Runs a short command of this machine in the network of this place; its stdout as text."""
        return run(self.tools().prefix + [str(word) for word in argv], stdin)

    # Sockets of the runner's own, in the network of this place.

    def connect(self, address, seconds):
        """A TCP connection from here."""
        with inside(self.namespace):
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

    def datagram_socket(self):
        """A UDP socket that may broadcast and multicast."""
        with inside(self.namespace):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.ip))
        return sender

    def listen(self):
        """A TCP socket that takes connections at a free port."""
        with inside(self.namespace):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((self.ip, 0))
        listener.listen()
        return listener
