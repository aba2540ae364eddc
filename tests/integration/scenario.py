"""What a scenario is, and what it is given to work with."""

import contextlib
import itertools
import os
from dataclasses import dataclass

from checks import Failure
from cluster import Cluster
from network import Ipv6Network, LoopbackNetwork, NamespaceNetwork
from process import Process
from process import run as command

SCENARIOS = {}
# What the caller has set for a broker or a client of its own must not reach those of the tests.
PASSED_ON = ("PATH", "HOME", "LANG", "LD_LIBRARY_PATH", "ASAN_OPTIONS", "TSAN_OPTIONS", "UBSAN_OPTIONS")
ENVIRONMENT = {key: os.environ[key] for key in PASSED_ON if key in os.environ}


@dataclass
class Scenario:
    name: str
    function: object
    namespaces: bool  # it needs hosts of their own: cuts, captures, interface counters
    default: bool  # it runs when no name is given


def scenario(name, namespaces=False, default=True):
    """Registers a function of a Run; what it returns is what was measured, one line."""

    def register(function):
        SCENARIOS[name] = Scenario(name, function, namespaces, default)
        return function

    return register


class Run:
    """One run of one scenario: its folder, its random source, its processes and networks, which end with it."""

    def __init__(self, name, folder, options, random, log):
        self.name, self.folder = name, folder
        self.project, self.programs = options.project, options.programs
        self.mode, self.long, self.rounds = options.mode, options.long, options.rounds
        self._minutes = options.minutes
        self.random = random  # seeded by the runner, which names the seed when the scenario fails
        self._log = log  # lines of a real log
        self._stack = contextlib.ExitStack()
        self._serial = itertools.count(1)

    def close(self):
        self._stack.close()

    def program(self, name):
        return os.path.join(self.programs, name)

    def start(self, place, argv, name=None, stdin=None, environment=None):
        """Starts a command at a place; it is killed at the end if it still runs."""
        name = name or f"{next(self._serial):02}-{os.path.basename(argv[0])}"
        process = Process(place.prefix + argv, name, self.folder, stdin, ENVIRONMENT | (environment or {}))
        self._stack.callback(process.kill)
        return process

    def network(self, size, kind=None):
        """Places for brokers 1…size and their clients."""
        if (kind or self.mode) == "netns":
            network = NamespaceNetwork(size, os.path.join(self.project, "deploy", "netns"))
        else:
            network = LoopbackNetwork(size)
        self._stack.callback(network.remove)
        return network

    def ipv6_network(self, size, both=()):
        """Places with IPv6 addresses; the hosts in `both` have IPv4 ones, too."""
        network = Ipv6Network(size, os.path.join(self.project, "deploy", "netns"), both)
        self._stack.callback(network.remove)
        return network

    def cluster(self, size=3, network=None, name="itest", first=1, **settings):
        """As many brokers, not started yet, at the places from `first` on. Settings by their key:
        cluster(3, **{"storage.fsync": "never"})."""
        return Cluster(self, network or self.network(size), range(first, first + size), name, settings)

    def small_disk(self, folder, size):
        """Mounts a memory disk of this size at `folder` until the end; needs root."""
        os.makedirs(folder, exist_ok=True)
        command(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder])
        self._stack.callback(command, ["umount", "--lazy", folder])

    def load_seconds(self):
        """How long a load under a fault lasts."""
        return 32 if self.long else 5

    def time_limit(self, short, long):
        """How many seconds a scenario takes that may take any time: as told, else `long` with --long, else `short`."""
        return self._minutes * 60 if self._minutes else long if self.long else short

    def log_lines(self, count=None):
        """Lines of a real log; as many as it has, or `count`, beginning anew at its end."""
        return list(itertools.islice(itertools.cycle(self._log), count or len(self._log)))

    def numbered_lines(self, count, prefix=""):
        return [b"%s%07d %s" % (prefix.encode(), number, line) for number, line in enumerate(self.log_lines(count), 1)]

    def write(self, name, lines):
        """A file of these lines in the scenario's folder; its path."""
        path = os.path.join(self.folder, name)
        with open(path, "wb") as file:
            file.writelines(line + b"\n" for line in lines)
        return path


__all__ = ["Failure", "Run", "Scenario", "SCENARIOS", "scenario"]
