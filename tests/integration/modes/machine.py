"""A virtual machine that Vagrant started, as a place of scenarios: reached by ssh, over an interface that no fault touches."""

import itertools
import os
import select
import shlex
import signal
import socket
import subprocess
import threading
from dataclasses import dataclass

from checks import Failure, patient, wait_until
from place import Place, inside
from process import Process, die_with_parent

_serial = itertools.count()
PIDS = "/run/logstream-tests"
ANSWER_SECONDS = 600
MARK = "-- answered"


class Machine:
    """`namespace` is where it can be reached from, `observer` the runner's own address in the brokers' network."""

    def __init__(self, name, ssh_config, namespace, ip, observer):
        self.name, self.ip, self.namespace, self.observer = name, ip, namespace, observer
        enter = ["nsenter", f"--net=/run/netns/{namespace}", "--"] if namespace else []
        self.ssh = [*enter, "ssh", "-q", "-F", ssh_config, name]
        self.interface = ""
        self._copied = {}  # path -> when it was changed last
        self._lock = threading.Lock()
        self._shell = None

    def open(self):
        """Starts its shell, through which everything short is done: a new session takes an emulated machine long. An sshd
        that has just been given other settings may refuse the first attempts."""
        wait_until(self._try_to_open, ANSWER_SECONDS, f"the machine {self.name} takes a session")

    def _try_to_open(self):
        self.close()
        self._shell = subprocess.Popen(
            [*self.ssh, "sudo sh"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            preexec_fn=die_with_parent,
        )
        try:
            self.do("true")
        except Failure as failure:
            return None, str(failure)
        return True

    def close(self):
        if self._shell:
            self._shell.kill()
            self._shell.wait()
            subprocess.run([*self.ssh[:-1], "-O", "exit", self.name], capture_output=True, check=False)
        self._shell = None

    def do(self, command):
        """Runs a command of the shell, as root; what it prints."""
        with self._lock:
            try:
                self._shell.stdin.write(f"({command}\n) </dev/null 2>&1; echo; echo '{MARK}' $?\n".encode())
                self._shell.stdin.flush()
            except BrokenPipeError:
                raise Failure(f"the connection to the machine {self.name} is closed") from None
            text = self._read_answer(command)
        said, _, code = text.rpartition(MARK)
        if int(code) != 0:
            raise Failure(f"{self.name}: {command}: exit {code.strip()}: {said.strip()}")
        return said.removesuffix("\n")

    def _read_answer(self, command):
        answer = b""
        while not (answer.endswith(b"\n") and MARK.encode() in answer):
            ready, _, _ = select.select([self._shell.stdout], [], [], ANSWER_SECONDS)
            part = os.read(self._shell.stdout.fileno(), 1 << 16) if ready else b""
            if not part:
                raise Failure(f"the machine {self.name} does not answer: {command}")
            answer += part
        return answer.decode(errors="replace")

    def prepare(self):
        """Makes it fit for scenarios: its own broker is stopped, its ssh takes many sessions at a time."""
        self.open()
        self.do(f"systemctl stop logstream; mkdir -p -m 777 {PIDS}; mkdir -p /etc/ssh/sshd_config.d")
        self.do("echo 'MaxSessions 100' >/etc/ssh/sshd_config.d/00-logstream-tests.conf; systemctl reload ssh")
        self.open()
        self.interface = self.do(f"ip -o -4 address | awk '$4 ~ /^{self.ip}\\// {{ print $2; exit }}'").strip()
        if not self.interface:
            raise Failure(f"the machine {self.name} has no interface with the address {self.ip}")

    def nft(self, *rules):
        self.do("nft -f - <<'END'\n" + "\n".join(rules) + "\nEND")

    def copy(self, path):
        """A file of the runner's, at the same path in the machine."""
        changed = os.stat(path).st_mtime_ns
        if self._copied.get(path) == changed:
            return
        folder = shlex.quote(os.path.dirname(path))
        with open(path, "rb") as file:
            done = subprocess.run(
                [*self.ssh, f"mkdir -p {folder} && cat >{shlex.quote(path)}"], stdin=file, capture_output=True, check=False
            )
        if done.returncode != 0:
            raise Failure(f"can't copy {path} to the machine {self.name}: {done.stderr.decode(errors='replace')}")
        self._copied[path] = changed

    def clear(self, folder):
        """Ends what scenarios have left running, and removes their files."""
        self.do(f"for f in {PIDS}/*; do [ ! -e $f ] || kill -KILL $(cat $f) 2>/dev/null; rm -f $f; done; true")
        self.do(f"rm -rf {shlex.quote(folder)}")
        self._copied.clear()


@dataclass
class MachinePlace(Place):
    machine: Machine = None

    def start(self, argv, name, folder, stdin=None, environment=None):
        words = [str(word) for word in argv]
        # What a program is to read has to be there; what it writes stays there.
        for path in words:
            if path.startswith(f"{folder}/") and os.path.isfile(path):
                self.machine.copy(path)
        return MachineProcess(self.machine, words, name, folder, stdin, environment or {})

    def tools(self):
        raise Failure("the programs of this machine do not run in the network of another one")

    def run(self, argv, stdin=b""):
        if stdin:
            raise Failure("a command in a machine gets no input")
        return self.machine.do(shlex.join(str(word) for word in argv))

    def connect(self, address, seconds):
        """From the runner's own end of the network, whose packets no fault touches."""
        with inside(self.machine.namespace):
            return socket.create_connection(address, patient(seconds))

    def datagram_socket(self):
        with inside(self.machine.namespace):
            sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        sender.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(self.machine.observer))
        return sender

    def listen(self):
        with inside(self.machine.namespace):
            listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        listener.bind((self.machine.observer, 0))
        listener.listen()
        return listener


class MachineProcess(Process):
    """A program in a machine. The ssh that stands for it here ends with it, and has its exit code and what it prints."""

    def __init__(self, machine, argv, name, folder, stdin, environment):
        self._machine = machine
        self._pid_file = f"{PIDS}/{os.getpid()}-{next(_serial)}"
        self._pid = 0
        words = ["env", *(f"{key}={value}" for key, value in environment.items()), *argv]
        command = f"mkdir -p {shlex.quote(folder)}; echo $$ >{self._pid_file}; exec {shlex.join(words)}"
        super().__init__([*machine.ssh, command], name, folder, stdin)

    @property
    def pid(self):
        if not self._pid and self.running:
            self._pid = wait_until(self._look, 60, f"{self.name} starts")
        return self._pid

    def _look(self):
        said = self._machine.do(f"cat {self._pid_file} 2>/dev/null || true").strip()
        return int(said) if said else -1 if not self.running else 0

    def send_signal(self, number):
        if self.running and self.pid > 0:
            self._machine.do(f"kill -{int(number)} {self.pid} 2>/dev/null || true")

    def kill(self):
        self.send_signal(signal.SIGKILL)
        super().kill()

    def errors(self):
        # What it said before it was asked for has passed the same connection as two answers after it.
        if self.running:
            for _ in range(2):
                self._machine.do(":")
        return super().errors()
