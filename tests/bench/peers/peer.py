"""What all peers share: processes on three hosts, and a load client of their own on the fourth.

A load client is a program `CLIENT SERVERS LOAD RECORD_BYTES SECONDS WARM_UP` that prints one JSON object, with the
fields of logstream-bench. LOAD is `flood`, as fast as it goes with as much under way as pays; `one`, a record in
flight; or a number of records per second, which it also reads back to tell `deliver_us`.
"""

import json
import os
import shutil

from processes import Failure, Process, Usage, run

LOADS = {"100B": ("flood", 100), "1KiB": ("flood", 1024), "one-in-flight": ("one", 100), "end-to-end": ("1000", 100)}


class Peer:
    name = ""
    durability = ""  # what its acknowledgement says of a record
    warm_up = 0  # seconds that it needs at least

    def __init__(self, bench, network):
        self.bench, self.network = bench, network
        self.folder = os.path.join(bench.folder, self.name)
        self.built = os.path.join(bench.folder, "peers")
        self.sources = os.path.dirname(__file__)
        self.servers = {}
        shutil.rmtree(self.folder, ignore_errors=True)
        os.makedirs(self.folder)
        os.makedirs(self.built, exist_ok=True)

    @property
    def hosts(self):
        return range(1, self.network.size + 1)

    def serve(self, host, *argv, **options):
        """Runs a server at a host."""
        log = os.path.join(self.folder, f"{host}.log")
        self.servers[host] = Process([*self.network.at(host), *argv], log, **options)

    def check_servers(self):
        for server in self.servers.values():
            server.check_runs()

    def file(self, name, content):
        """Writes a file into the peer's folder; its path."""
        path = os.path.join(self.folder, name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(content)
        return path

    def remove(self):
        for server in self.servers.values():
            server.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def compile(self, source, *libraries):
        """A load client in C++; its path."""
        program = os.path.join(self.built, source.removesuffix(".cpp"))
        run(["g++", "-O2", "-std=c++20", "-o", program, os.path.join(self.sources, source), *libraries])
        return program

    def need(self, *programs):
        for program in programs:
            if shutil.which(program, path=os.environ["PATH"] + ":/usr/sbin") is None:
                raise Failure(f"there is no {program}; deploy/install-packages.sh --bench installs it")

    def client(self):
        """(Where it runs, its command line, the SERVERS that it is told.)"""
        raise NotImplementedError

    def measure(self, load):
        where, command, servers = self.client()
        what, size = LOADS[load]
        seconds, warm_up = self.bench.seconds, max(self.warm_up, self.bench.warm_up)
        with Usage([server.pid for server in self.servers.values()]) as usage:
            told = run([*where, *command, servers, what, size, seconds, warm_up], seconds=seconds + 120)
        self.check_servers()
        result = json.loads(told.strip().splitlines()[-1])
        if result["records_per_s"] == 0:
            raise Failure("nothing was acknowledged")
        result |= {"record_bytes": size, "replicas": 3, "server_cpu_s": round(usage.cpu_seconds, 2)}
        result["server_resident_mib"] = usage.resident_mib
        millions = result["records_per_s"] * (seconds + warm_up) / 1e6
        return result | {"server_cpu_s_per_million": round(usage.cpu_seconds / millions, 3)}
