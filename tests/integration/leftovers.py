"""What runs that were killed left behind: they could not clean up after themselves."""

import contextlib
import glob
import os
import re
import shutil
import signal
import subprocess
import tempfile

from process import run


def remove_leftovers():
    """Removes the network namespaces of such runs with what runs in them, and the folders of their Docker daemons."""
    for line in run(["ip", "netns", "list"]).splitlines():
        namespace = line.split()[0]
        if _is_orphan(re.match(r"ls(\d+)x\d+-", namespace)):
            remove_namespace(namespace)
    for folder in glob.glob(os.path.join(tempfile.gettempdir(), "logstream-docker-*")):
        if _is_orphan(re.search(r"logstream-docker-(\d+)-", folder)):
            remove_mounted(folder)


def _is_orphan(found):
    return found and not os.path.exists(f"/proc/{found[1]}")


def remove_namespace(name):
    """A network namespace with all that runs in it."""
    pids = subprocess.run(["ip", "netns", "pids", name], capture_output=True, text=True, check=False).stdout
    for pid in map(int, pids.split()):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
    shutil.rmtree(f"/etc/netns/{name}", ignore_errors=True)


def remove_mounted(folder):
    """A folder with all that is mounted in it."""
    with open("/proc/self/mounts", encoding="utf-8", errors="surrogateescape") as file:
        mounted = [path for path in (line.split()[1] for line in file) if path.startswith(f"{folder}/")]
    for path in reversed(mounted):
        subprocess.run(["umount", "--lazy", path], capture_output=True, check=False)
    shutil.rmtree(folder, ignore_errors=True)
