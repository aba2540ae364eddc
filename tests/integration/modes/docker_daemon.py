"""A Docker daemon of the tests' own, in a network namespace of its own, with all that it has in a temporary folder.

So the tests need no daemon of this machine's and leave nothing in one, and what Docker does to the network around it stays
in that namespace.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile

from checks import Failure, wait_until
from leftovers import remove_mounted, remove_namespace
from process import die_with_parent, run

START_SECONDS = 60


class Daemon:
    def __init__(self, name):
        for program in ("docker", "dockerd"):
            if not shutil.which(program):
                raise Failure(f"there is no {program}; deploy/install-packages.sh --docker installs it")
        self.name = name
        self.namespace = f"{name}-docker"
        self.folder = tempfile.mkdtemp(prefix=f"logstream-docker-{os.getpid()}-")
        self.log = os.path.join(self.folder, "dockerd.log")
        self.environment = os.environ | {"DOCKER_HOST": f"unix://{self.folder}/socket"}
        self.networks = set()  # the numbers of those that there are
        self._process = None
        try:
            self._start()
        except BaseException:
            self.close()
            raise

    def _start(self):
        run(["ip", "netns", "add", self.namespace])
        run(["ip", "-n", self.namespace, "link", "set", "lo", "up"])
        # `ip netns exec` would give it a /sys of its own, without the cgroups that it needs.
        command = ["nsenter", f"--net=/run/netns/{self.namespace}", "dockerd"]
        command += ["--data-root", f"{self.folder}/data", "--exec-root", f"{self.folder}/run"]
        command += ["--pidfile", f"{self.folder}/pid", "--host", f"unix://{self.folder}/socket"]
        _give_weight(self.name)
        # Whatever the machine's own manager of services is, it is not asked.
        command += ["--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", f"/{self.name}"]
        with open(self.log, "wb") as log:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True, preexec_fn=die_with_parent
            )
        wait_until(self._answers, START_SECONDS, "the Docker daemon starts")

    def _answers(self):
        if self._process.poll() is not None:
            with open(self.log, encoding="utf-8", errors="replace") as log:
                raise Failure(f"dockerd ended by itself: {log.read().strip().splitlines()[-1]}")
        asked = subprocess.run(["docker", "version"], env=self.environment, capture_output=True, check=False)
        return asked.returncode == 0

    def docker(self, *words, stdin=b"", seconds=60):
        """Runs the command docker; its stdout as text."""
        return run(["docker", *words], stdin, seconds, self.environment)

    def close(self):
        """Ends the daemon with all containers."""
        if self._process and self._process.poll() is None:
            with contextlib.suppress(Failure):
                containers = self.docker("ps", "--all", "--quiet").split()
                if containers:
                    self.docker("rm", "--force", "--volumes", *containers)
            self._process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(30)
            self._process.kill()
            self._process.wait()
        remove_namespace(self.namespace)
        remove_mounted(self.folder)
        for path in _cgroups(self.name):
            with contextlib.suppress(OSError):
                os.rmdir(path)


def _give_weight(name):
    """To the scheduler a control group is one process, however many it has: on a busy machine containers would starve."""
    unified = os.path.exists("/sys/fs/cgroup/cgroup.controllers")
    place = os.path.join("/sys/fs/cgroup", "" if unified else "cpu", name)
    with contextlib.suppress(OSError):
        os.mkdir(place)
        with open(os.path.join(place, "cpu.weight" if unified else "cpu.shares"), "w", encoding="ascii") as file:
            file.write("400\n" if unified else "4096\n")


def _cgroups(name):
    """What the daemon has made in the hierarchies of control groups, the innermost first."""
    for top in [os.path.join("/sys/fs/cgroup", each) for each in (".", *os.listdir("/sys/fs/cgroup"))]:
        yield from (path for path, _, _ in os.walk(os.path.join(top, name), topdown=False))
