"""Brokers in containers of the image that deploy/docker/Dockerfile makes: needs root.

A host is a container that does nothing but hold an address, as a pod's is; each start of a broker is a container of its
own in the network of that one, and ends with the broker. Clients run in the host's container. Folders are the runner's,
at the same path.
"""

import contextlib
import itertools
import os
import signal
import subprocess
import threading
from dataclasses import dataclass

from checks import Failure, wait_until
from modes import LocalMode, Need
from modes.bridged import BridgedNetwork
from modes.docker_daemon import Daemon
from modes.docker_image import IMAGE, PROGRAMS, make_image
from place import Place
from process import Process, run

_serial = itertools.count()
START_SECONDS = 60  # of a container
# These are for process 1 of the container, which passes them on; the others it could not, or would not.
TO_CONTAINER = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Mode(LocalMode):
    lacks = {
        Need.SCRIPTS: "its hosts are containers: --mode netns",
        Need.OWN_FILES: "the files of a broker's container are Docker's to give: --mode netns",
        Need.ANY_BYTES: "what Docker is told is JSON: --mode netns",
        Need.LOOPBACK: "containers have hosts of their own: --mode loopback, or netns",
    }

    def __init__(self, options, folder):
        super().__init__(options, folder)
        os.umask(0)  # in the image nobody is root: what the runner makes is for all
        self.daemon = Daemon(f"ls{os.getpid()}x{next(_serial)}")
        try:
            make_image(self.daemon, options)
            listed = self.daemon.docker("run", "--rm", "--entrypoint", "ls", IMAGE, PROGRAMS)
            self._in_image = set(listed.split())
        except BaseException:
            self.close()
            raise
        # The tests' own programs are not in the image, nor is what documents the settings.
        readable = {self._programs, os.path.join(self.project, "deploy")}
        self._folders = [f"--volume={folder}:{folder}", *(f"--volume={each}:{each}:ro" for each in readable)]

    def program(self, name):
        return os.path.join(PROGRAMS if name in self._in_image else self._programs, name)

    def network(self, size):
        return ContainerNetwork(size, self.daemon, self._folders)

    def close(self):
        self.daemon.close()


class ContainerNetwork(BridgedNetwork):
    """A bridge network of Docker's."""

    def __init__(self, size, daemon, folders):
        number = next(number for number in range(256) if number not in daemon.networks)
        super().__init__(f"ls{os.getpid()}x{next(_serial)}", size, number)
        self.bridge = daemon.namespace
        self._number = number
        daemon.networks.add(number)
        self._daemon, self._folders = daemon, folders
        self._ports = {}
        self._pids = {}
        try:
            self._make()
        except BaseException:
            self.remove()
            raise

    def _make(self):
        bridge = ["--opt", f"com.docker.network.bridge.name={self.bridge_interface}"]
        subnet = ["--subnet", f"{self.subnet}.0/24", "--gateway", f"{self.subnet}.254"]
        self._daemon.docker("network", "create", *bridge, *subnet, self.name)
        hosts = range(1, self.client + 1)
        starting = [self._start_host(host) for host in hosts]
        if any([each.wait() for each in starting]):
            raise Failure("a container did not start: " + "; ".join(each.stderr.read().decode() for each in starting))
        pids = self._daemon.docker("inspect", "--format", "{{.State.Pid}}", *map(self.namespace, hosts)).split()
        self._pids = dict(zip(hosts, map(int, pids)))
        for host, pid in self._pids.items():
            run(["ip", "netns", "attach", self.namespace(host), pid])
            self._ports[host] = self._port_of(pid)
            for namespace, interface in ((self.namespace(host), "eth0"), (self.bridge, self.port(host))):
                words = ["tso", "off", "gso", "off", "gro", "off", "tx-udp-segmentation", "off"]
                run(["ip", "netns", "exec", namespace, "ethtool", "-K", interface, *words])

    def _start_host(self, host):
        words = ["docker", "run", "--detach", "--init", "--no-healthcheck", "--entrypoint", "sleep", *self._folders]
        words += ["--name", self.namespace(host), "--hostname", f"n{host}", "--network", self.name, "--ip", self.ip(host)]
        return subprocess.Popen(
            [*words, IMAGE, "infinity"], env=self._daemon.environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )

    def _port_of(self, pid):
        """The interface whose other end is the container's."""
        index = run(["nsenter", f"--target={pid}", "--mount", "cat", "/sys/class/net/eth0/iflink"]).strip()
        for line in run(["ip", "-n", self.bridge, "-o", "link"]).splitlines():
            number, name = line.split(": ")[:2]
            if number == index:
                return name.partition("@")[0]
        raise Failure(f"the bridge has no interface {index}")

    def port(self, host):
        return self._ports[host]

    def place(self, host):
        return ContainerPlace(
            f"n{host}",
            self.ip(host),
            8001,
            ["nsenter", f"--target={self._pids[host]}", "--mount", "--net", "--"],
            self.namespace(host),
            self._daemon,
            self._folders,
        )

    def remove(self):
        for host in range(1, self.client + 1):
            subprocess.run(["ip", "netns", "delete", self.namespace(host)], capture_output=True, check=False)
        known = self._daemon.docker("ps", "--all", "--quiet", "--filter", f"name=^{self.name}-").split()
        if known:
            self._daemon.docker("rm", "--force", "--volumes", *known)
        if self._daemon.docker("network", "ls", "--quiet", "--filter", f"name=^{self.name}$"):
            self._daemon.docker("network", "rm", self.name)
        self._daemon.networks.discard(self._number)


@dataclass
class ContainerPlace(Place):
    daemon: Daemon = None
    folders: list = ()

    def tools(self):
        return Place(self.name, self.ip, self.port, ["ip", "netns", "exec", self.namespace], self.namespace)

    def start_broker(self, argv, name, folder, environment=None):
        container = f"{self.namespace}-{next(_serial)}"
        words = ["docker", "run", "--rm", "--no-healthcheck", "--log-driver", "none", *self.folders]
        words += ["--name", container, "--network", f"container:{self.namespace}"]
        words += [f"--env={key}={value}" for key, value in (environment or {}).items()]
        program = os.path.basename(argv[0])
        if argv[0] == f"{PROGRAMS}/logstream":
            words += [IMAGE, *argv[1:]]
        else:
            words += ["--entrypoint", "tini", IMAGE, "--", *argv]
        return ContainerProcess(self.daemon, container, program, words, name, folder)


class ContainerProcess(Process):
    """A broker that is a container: the command that stands for it ends with it, and tells what it says."""

    def __init__(self, daemon, container, program, argv, name, folder):
        super().__init__(argv, name, folder, env=daemon.environment)
        self._daemon, self._container, self._program = daemon, container, program
        self._first, self._broker = 0, 0  # process 1 of the container, and the broker
        # Whoever kills three brokers at once can't wait to be told their pids one by one.
        self._search = threading.Thread(target=self._find, daemon=True)
        self._search.start()

    @property
    def pid(self):
        self._search.join()
        return self._broker

    def _find(self):
        wait_until(lambda: self._look() or not self.running, START_SECONDS, f"{self._container} runs")

    def _look(self):
        asked = subprocess.run(
            ["docker", "inspect", "--format", "{{.State.Pid}}", self._container],
            env=self._daemon.environment,
            capture_output=True,
            check=False,
        )
        self._first = int(asked.stdout.strip() or 0)
        self._broker = _only_child(self._first, self._program) if self._first else 0
        return self._broker

    def send_signal(self, number):
        self._search.join()
        if self.running and self._broker:
            # It may have ended a moment before the command that stands for it.
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._first if number in TO_CONTAINER else self._broker, number)

    def kill(self):
        self.send_signal(signal.SIGCONT)
        self.send_signal(signal.SIGKILL)
        if not self._broker:
            self.popen.kill()
        self.popen.wait()


def _only_child(pid, command):
    """The process that `pid` has started, once it runs that command; else 0."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            children = file.read().split()
        if len(children) == 1:
            with open(f"/proc/{children[0]}/comm", encoding="utf-8") as file:
                return int(children[0]) if file.read().strip() == command else 0
    except OSError:
        pass
    return 0
