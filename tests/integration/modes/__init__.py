"""The modes of the scenarios: where brokers and clients live, and what can be done to them there.

A mode is a module of this package whose class Mode has

    lacks                {Need: why}: what no scenario can have there; those that need it are listed as skipped
    skips(name)          why a scenario, unless it is asked for by its name, is skipped all the same; None: it is not
    Mode(options, folder)  takes what the whole run needs; Failure says what is missing and what to do
    patience             how many times as long as for this machine's own processes a deadline is
    program(name)        the path of one of the project's programs, as a place of the mode sees it
    network(size)        places for `size` brokers and their clients, for one scenario
    close()              gives everything back

and its network has

    size, client         brokers have the places 1…size; clients have the place `client`
    place(host)          a place.Place, or what has its methods
    broadcast_port, multicast, broker_flags   flags of a broker there
    remove()             ends what runs there, and takes the network away

and, unless the mode lacks Need.HOSTS,

    cut(host, others=None), cut_one_way(sender, receiver), lose(host, nft_expression), duplicate(host, percent),
    narrow(host, rate), widen(host), mend_cuts(), heal()   faults of links, as modes/bridged.py describes them
    bytes_sent(host), bytes_received(host)                 what its interface has counted
    broadcast_address
    repeats                                                the share of datagrams that have to be sent more than once

and, unless it lacks Need.PACKETS, tap(host=None): where packets can be seen.

A process that a place starts has the methods of process.Process: pid, running, code, send_signal (SIGKILL and SIGSTOP
too), wait, kill, and its stdout and stderr in files of the scenario's folder, which stays when the scenario fails.
"""

import enum
import importlib
import os

NAMES = ("netns", "loopback", "docker", "vagrant")


class Need(enum.Enum):
    """What a scenario may need of its mode."""

    HOSTS = "hosts of their own, whose links can be cut and counted"
    PACKETS = "to see the packets that pass a host's interface"
    FILES = "the brokers' files and processes to be this machine's own"
    NAMESPACES = "hosts that are network namespaces of this machine"
    SCRIPTS = "the hosts that deploy/netns makes"
    LOOPBACK = "brokers on this machine's loopback"
    OWN_FILES = "to put files of a broker's own over those of its host"
    ANY_BYTES = "to give a program words that are no UTF-8"
    DOCKER = "a Docker daemon"


class LocalMode:
    """What a mode is whose programs are this machine's own processes."""

    lacks = {Need.DOCKER: "--mode docker"}

    patience = 1

    def __init__(self, options, folder):
        self.project, self._programs = options.project, options.programs

    def skips(self, name):
        return None

    def program(self, name):
        return os.path.join(self._programs, name)

    def close(self):
        pass


def load(name):
    """The class of a mode."""
    return importlib.import_module(f"modes.{name}").Mode
