"""Processes that a scenario starts. Each is ended by the pid that was started, at the latest with the scenario."""

import ctypes
import os
import re
import signal
import subprocess

from checks import Failure, patient, wait_until

_libc = ctypes.CDLL(None, use_errno=True)
_PR_SET_PDEATHSIG = 1


def die_with_parent():
    _libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


class Process:
    """A running program; stdout and stderr go to files that are appended to."""

    def __init__(self, argv, name, folder, stdin=None, env=None):
        self.argv = [str(word) for word in argv]
        self.name = name
        self.stdout_path = os.path.join(folder, f"{name}.out")
        self.stderr_path = os.path.join(folder, f"{name}.err")
        self._stderr_from = os.path.getsize(self.stderr_path) if os.path.exists(self.stderr_path) else 0
        source = open(stdin, "rb") if isinstance(stdin, str) else stdin
        with open(self.stdout_path, "ab") as out, open(self.stderr_path, "ab") as err:
            self.popen = subprocess.Popen(
                self.argv,
                stdin=source or subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=env,
                start_new_session=True,  # Ctrl-C is for the runner, which ends its processes itself
                preexec_fn=die_with_parent,
            )
        if isinstance(stdin, str):
            source.close()

    @property
    def pid(self):
        return self.popen.pid

    @property
    def running(self):
        return self.popen.poll() is None

    @property
    def code(self):
        return self.popen.poll()

    def send_signal(self, number):
        if self.running:
            self.popen.send_signal(number)

    def wait(self, seconds):
        """The exit code; fails when the process still runs after so long."""
        seconds = patient(seconds)
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise Failure(f"{self.name} still runs after {seconds:g} s; its last words: {self.last_words()}") from None

    def succeed(self, seconds):
        code = self.wait(seconds)
        if code != 0:
            raise Failure(f"{self.name} exits {code}: {self.last_words()}")
        return self

    def kill(self):
        if self.running:
            self.popen.send_signal(signal.SIGCONT)
            self.popen.kill()
        self.popen.wait()
        if self.popen.stdin:
            try:
                self.popen.stdin.close()
            except BrokenPipeError:
                pass

    def output(self):
        with open(self.stdout_path, "rb") as file:
            return file.read()

    def lines(self):
        """Whole lines of stdout, without their newlines."""
        return self.output().split(b"\n")[:-1]

    def line_count(self):
        return self.output().count(b"\n")

    def errors(self):
        """What this process (and not an earlier one of its name) has said on stderr."""
        with open(self.stderr_path, "rb") as file:
            file.seek(self._stderr_from)
            return file.read().decode(errors="replace")

    def last_words(self):
        return (self.errors().strip().splitlines() or ["nothing"])[-1][:400]

    def wait_for_words(self, pattern, seconds):
        """Waits until stderr matches; returns the match."""
        return wait_until(
            lambda: (re.search(pattern, self.errors()), self.last_words()), seconds, f"{self.name} says {pattern!r}"
        )


def run(argv, stdin=b"", seconds=30, environment=None):
    """Runs a short command of the system; its stdout as text. Fails when it fails."""
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(words, input=stdin, capture_output=True, timeout=seconds, env=environment, check=False)
    except subprocess.TimeoutExpired:
        raise Failure(f"{' '.join(words)}: still runs after {seconds} s") from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip()
        raise Failure(f"{' '.join(words)}: exit {done.returncode}: {said}")
    return done.stdout.decode(errors="replace")
