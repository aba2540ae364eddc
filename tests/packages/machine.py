"""A fresh Debian, booted in a container with a network of its own, which reaches nobody."""

import os
import pathlib
import shutil
import subprocess
import time

from checks import Failure, command, wait_for

RELEASE = "bookworm"
ADDRESS = "192.0.2.1/24"  # of the range for examples: it is nobody's
BOOT_SECONDS = 120


class Unavailable(Exception):
    """There can be no fresh Debian here."""


class Machine:
    """The system at `root`, with the packages at /packages and all that they depend on within its reach.

    Where systemd-nspawn cannot boot it, its programs run by chroot, and there is no systemd to ask."""

    def __init__(self, root, packages):
        self.root = root
        self.packages = packages
        self.booted, self.why_not_booted = False, "the fresh Debian did not boot"
        self._namespace = f"logstream-packages-{os.getpid()}"
        self._nspawn = None
        self._inside = []
        self._fetch(packages)

    def _fetch(self, packages):
        if not shutil.which("debootstrap"):
            raise Unavailable("there is no debootstrap; deploy/install-packages.sh --packages installs it")
        made = subprocess.run(["debootstrap", "--variant=minbase", "--include=systemd,systemd-sysv,dbus,procps", RELEASE,
                               self.root], text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        if made.returncode != 0:
            raise Unavailable(f"debootstrap failed, is a Debian mirror in reach? {made.stdout.strip().splitlines()[-1:]}")
        (self.root / "packages").mkdir()
        # Every machine has its own; it is made at the first boot.
        (self.root / "etc/machine-id").write_text("")
        command(["chroot", self.root, "apt-get", "update"])
        for path in packages:
            shutil.copy(path, self.root / "packages")
            command(["chroot", self.root, "apt-get", "install", "--yes", "--download-only", f"/packages/{path.name}"])

    def __enter__(self):
        ip = ["ip", "-n", self._namespace]
        command(["ip", "netns", "add", self._namespace])
        try:
            command([*ip, "link", "add", "up0", "type", "veth", "peer", "name", "up1"])
            command([*ip, "addr", "add", ADDRESS, "broadcast", "+", "dev", "up0"])
            for link in ("lo", "up0", "up1"):
                command([*ip, "link", "set", link, "up"])
            self._boot()
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self._nspawn:
            if self.booted:
                subprocess.run([*self._inside, "systemctl", "poweroff"], capture_output=True)
            else:
                self._nspawn.kill()
            try:
                self._nspawn.wait(BOOT_SECONDS)
            except subprocess.TimeoutExpired:
                self._nspawn.kill()
                self._nspawn.wait()
        if not self.booted and self._inside:
            subprocess.run(["umount", "--lazy", self.root / "proc"], capture_output=True)
        subprocess.run(["ip", "netns", "delete", self._namespace], capture_output=True)

    def _boot(self):
        log = pathlib.Path(f"{self.root}.log")
        with open(log, "wb") as output:
            # Without a systemd outside there is nothing to register with.
            self._nspawn = subprocess.Popen(
                ["systemd-nspawn", "--quiet", "--boot", "--register=no", "--keep-unit", "--console=pipe",
                 f"--machine={self._namespace}", f"--network-namespace-path=/run/netns/{self._namespace}",
                 f"--directory={self.root}"], stdin=subprocess.DEVNULL, stdout=output, stderr=output)
        end = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < end and self._nspawn.poll() is None:
            children = pathlib.Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
            if children:
                inside = ["nsenter", "--target", children[0], "--all"]
                state = subprocess.run([*inside, "systemctl", "is-system-running"], text=True, capture_output=True)
                if state.stdout.strip() in ("running", "degraded"):
                    self._inside, self.booted = inside, True
                    return
            time.sleep(0.2)
        said = log.read_text(errors="replace").strip().splitlines()
        self.why_not_booted = f"the fresh Debian did not boot under systemd-nspawn: {said[-1:]}"
        command(["mount", "-t", "proc", "proc", self.root / "proc"])
        self._inside = ["ip", "netns", "exec", self._namespace, "chroot", self.root]

    def describe(self):
        return "is booted by systemd-nspawn" if self.booted else f"runs by chroot, without systemd: {self.why_not_booted}"

    def argv(self, *argv):
        """A command inside."""
        return [*self._inside, "env", "DEBIAN_FRONTEND=noninteractive", *argv]

    def run(self, *argv):
        """The standard output of a command inside."""
        return command(self.argv(*argv))

    def fails(self, *argv):
        try:
            self.run(*argv)
        except Failure:
            return True
        return False

    def path(self, absolute):
        """Where a path of it lies outside."""
        return self.root / absolute.lstrip("/")

    def exists(self, absolute):
        return os.path.lexists(self.path(absolute))

    def service(self, what):
        """A property of the broker's service."""
        return self.run("systemctl", "show", "--value", f"--property={what}", "logstream.service").strip()

    def wait_for_service(self, what, wanted):
        """Waits until the property is as wanted; its text."""
        return wait_for(f"{what} of the service, now '{self.service(what)}', is as wanted",
                        lambda: (text := self.service(what)) and wanted(text) and text)
