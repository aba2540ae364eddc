"""Three (or more) LogStream brokers, and the load that logstream-bench puts on them."""

import json
import os
import random
import shutil

from network import NamespaceNetwork
from processes import Process, run


class LogStream:
    name = "logstream"
    durability = "on the disks of a majority, flushed"

    def __init__(self, bench, network, settings=()):
        self.bench, self.network = bench, network
        self.folder = os.path.join(bench.folder, "logstream")
        self._flags = ["--http", "off"]
        for setting in settings:
            self._flags += ["--set", setting]
        self._loads = 0
        shutil.rmtree(self.folder, ignore_errors=True)
        if isinstance(network, NamespaceNetwork):
            self.addresses = [f"{network.ip(host)}:8001" for host in self.hosts]
        else:
            # Below the range that the kernel gives to outgoing connections.
            self._port = random.randrange(20_000, 30_000)
            self.addresses = [f"127.0.0.1:{self._port + i}" for i in range(network.size)]

    @property
    def hosts(self):
        return range(1, self.network.size + 1)

    def start(self, seconds=60):
        """Starts those that do not run, and waits until all are one view."""
        binary = self.bench.program("logstream")
        if isinstance(self.network, NamespaceNetwork):
            words = [word for host in self.hosts for word in ("--host", host)]
            words += ["--data", self.folder, "--binary", binary, "--wait", seconds]
            self.network.script("start-cluster.sh", *words, "--", *self._flags, seconds=seconds + 10)
        else:
            port = self._port
            self._local(
                "start",
                *("-n", self.network.size, "--port", port, "--cluster", f"bench-{port}", "--binary", binary),
                *(
                    "--broadcast-port",
                    port + 10,
                    "--multicast",
                    f"239.77.{port % 250}.1:{port + 11}",
                    "--wait",
                    seconds,
                ),
                *("--", *self._flags),
            )

    def stop(self, kill=False):
        """In order, or all at once."""
        if isinstance(self.network, NamespaceNetwork):
            self.network.script("stop-cluster.sh", "--data", self.folder, *(["--kill"] if kill else []))
        else:
            self._local("stop")

    def remove(self):
        try:
            self.stop(kill=True)
        finally:
            shutil.rmtree(self.folder, ignore_errors=True)

    def pid(self, host):
        with open(os.path.join(self.folder, f"n{host}", "pid"), encoding="ascii") as file:
            return int(file.read().split()[0])

    @property
    def pids(self):
        return [self.pid(host) for host in self.hosts]

    def log(self, host):
        with open(os.path.join(self.folder, f"n{host}", "broker.log"), encoding="utf-8", errors="replace") as file:
            return file.read()

    def _local(self, command, *flags):
        run([os.path.join(self.bench.root, "deploy", "local", "cluster.sh"), command, "--dir", self.folder, *flags])

    def ctl(self, *words):
        return run(
            [*self.network.load_at, self.bench.program("logstreamctl"), *words, "--brokers", ",".join(self.addresses)]
        )

    def status(self):
        return json.loads(self.ctl("status", "--json"))

    def stored_bytes(self):
        return self.status()["disk"]["bytes"]

    def host_of(self, node, status=None):
        """The host of the broker that has this id."""
        members = (status or self.status())["members"]
        return next(self.addresses.index(member["address"]) + 1 for member in members if member["id"] == node)

    def owner(self, topic):
        return self.host_of(json.loads(self.ctl("ring", topic, "--json"))["owner"])

    def _command(self, flags):
        words = ["--brokers", ",".join(self.addresses), "--json", *flags]
        if "--duration" not in flags:
            words += ["--duration", self.bench.seconds]
        if "--warmup" not in flags:
            words += ["--warmup", self.bench.warm_up]
        return [*self.network.load_at, self.bench.program("logstream-bench"), *words]

    def load(self, *flags):
        """What logstream-bench tells of a run."""
        return json.loads(run(self._command(flags), seconds=self.bench.seconds + 180))

    def start_load(self, *flags):
        self._loads += 1
        return Process(self._command(flags), os.path.join(self.folder, f"load-{self._loads}"))

    @staticmethod
    def finish_load(process):
        return json.loads(process.wait(120))

    def append(self, topic):
        """Ends when the record is acknowledged."""
        self.ctl("append", "-t", topic, "-c", "is anybody there?")
