"""Programs that a benchmark runs, and what they use of the machine."""

import contextlib
import os
import signal
import subprocess
import sys
import threading

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

from checks import Failure, wait_until  # noqa: E402, F401
from process import die_with_parent  # noqa: E402


def run(argv, seconds=120, stdin="", **options):
    """Runs a program to its end; its stdout. Fails when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words, input=stdin, capture_output=True, text=True, timeout=seconds, preexec_fn=die_with_parent, **options
        )
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)}: not done after {seconds:g} s") from None
    if done.returncode != 0:
        said = " ".join((done.stderr.strip() or done.stdout.strip() or "nothing").split())
        raise Failure(f"{' '.join(words)}: exit {done.returncode}: {said[:400]}")
    return done.stdout


class Process:
    """A program in the background, which says what it says into a file; ended at the latest with the benchmark."""

    def __init__(self, argv, log, **options):
        self.log = log
        with open(log, "ab") as file:
            self._popen = subprocess.Popen(
                [str(word) for word in argv],
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=file,
                start_new_session=True,
                preexec_fn=die_with_parent,
                **options,
            )
        self.pid = self._popen.pid

    def check_runs(self):
        if self._popen.poll() is not None:
            raise Failure(f"{self._popen.args[-1]} ended with {self._popen.returncode}: {self._last_words()}")

    def wait(self, seconds):
        """Waits for its end; what it said."""
        try:
            self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._popen.returncode != 0:
            raise Failure(f"{self._popen.args} ended with {self._popen.returncode}: {self._last_words()}")
        return self.said()

    def kill(self):
        """With all that it has started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        self._popen.wait()

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as file:
            return file.read()

    def _last_words(self):
        return (self.said().strip().splitlines() or ["nothing"])[-1][:400]


def cpu_seconds(pid):
    """Of the whole process, in user mode and in the kernel."""
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def resident_bytes(pid):
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


class Usage:
    """What some processes use while a `with` block runs: `cpu_seconds` of all, `resident_mib`, the most of each."""

    def __init__(self, pids):
        self._pids = pids
        self._most = [0] * len(pids)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self.cpu_seconds = 0.0

    def __enter__(self):
        self._before = sum(map(cpu_seconds, self._pids))
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()
        with contextlib.suppress(OSError):
            self.cpu_seconds = sum(map(cpu_seconds, self._pids)) - self._before

    @property
    def resident_mib(self):
        return [round(most / 2**20, 1) for most in self._most]

    def _watch(self):
        with contextlib.suppress(OSError):  # it may end
            while not self._over.wait(0.1):
                self._most = [max(most, resident_bytes(pid)) for most, pid in zip(self._most, self._pids)]
