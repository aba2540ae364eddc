"""What a scenario is, and what it is given to work with."""

import contextlib
import itertools
import os
from dataclasses import dataclass

from checks import Failure
from cluster import Cluster
from modes import Need
from modes.netns import Ipv6Network
from process import run as command

SCENARIOS = {}


@dataclass
class Scenario:
    name: str
    function: object
    needs: tuple  # of Need: what its mode must have
    default: bool  # it runs when no name is given


def scenario(name, *needs, default=True):
    """Registers a function of a Run; what it returns is what was measured, one line."""

    def register(function):
        SCENARIOS[name] = Scenario(name, function, needs, default)
        return function

    return register


class Run:
    """One run of one scenario: its folder, its random source, its processes and networks, which end with it."""

    def __init__(self, name, folder, options, mode, random, log):
        self.name, self.folder = name, folder
        self.project, self.mode = options.project, mode
        self.programs = ""  # the folder of programs that are taken in place of the mode's
        self.long, self.rounds = options.long, options.rounds
        self._minutes = options.minutes
        self.release = options.release  # the folder of an earlier release's programs, if one was named
        self.random = random  # seeded by the runner, which names the seed when the scenario fails
        self._log = log  # lines of a real log
        self._stack = contextlib.ExitStack()
        self._serial = itertools.count(1)

    def close(self):
        self._stack.close()

    def program(self, name):
        return os.path.join(self.programs, name) if self.programs else self.mode.program(name)

    def has(self, need):
        """Whether the mode has what only a part of a scenario needs."""
        return need not in self.mode.lacks

    def start(self, place, argv, name=None, stdin=None, environment=None):
        """Starts a command at a place; it is killed at the end if it still runs."""
        name = name or f"{next(self._serial):02}-{os.path.basename(argv[0])}"
        return self._end_with_this(place.start(argv, name, self.folder, stdin, environment))

    def start_broker(self, place, argv, name, environment):
        return self._end_with_this(place.start_broker(argv, name, self.folder, environment))

    def _end_with_this(self, process):
        self.at_the_end(process.kill)
        return process

    def at_the_end(self, function):
        """Calls it when the scenario is over, however it ends."""
        self._stack.callback(function)

    def network(self, size, make=None):
        """Places for brokers 1…size and their clients, those of the mode unless another one is asked for."""
        network = (make or self.mode.network)(size)
        self._stack.callback(network.remove)
        return network

    def ipv6_network(self, size, both=()):
        """Places with IPv6 addresses; the hosts in `both` have IPv4 ones, too."""
        return self.network(size, lambda n: Ipv6Network(n, os.path.join(self.project, "deploy", "netns"), both))

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


__all__ = ["Failure", "Need", "Run", "Scenario", "SCENARIOS", "scenario"]
