import os

from peers.peer import Peer
from processes import run, wait_until

_CONFIG = """
server_name: n{host}
listen: {ip}:4222
jetstream {{ store_dir: {store}, max_file_store: 100GB, max_memory_store: 1GB }}
cluster {{ name: bench, listen: {ip}:6222, routes: [{routes}] }}
"""


class Nats(Peer):
    """NATS JetStream: a stream of three file replicas."""

    name = "nats"
    durability = "written by a majority (Raft), not flushed: files are synced every two minutes"

    def start(self):
        self.need("nats-server", "go")
        routes = ", ".join(f"nats://{self.network.ip(host)}:6222" for host in self.hosts)
        for host in self.hosts:
            store = os.path.join(self.folder, f"store-{host}")
            config = _CONFIG.format(host=host, ip=self.network.ip(host), store=store, routes=routes)
            self.serve(host, "nats-server", "-c", self.file(f"{host}.conf", config))
        self._client = os.path.join(self.built, "nats_load")
        # Debian's sources of the client, not the module proxy's.
        go = os.environ | {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": ""}
        run(["go", "build", "-o", self._client, os.path.join(self.sources, "nats_load.go")], seconds=300, env=go)
        wait_until(self._has_leader, 30, "JetStream has a leader")

    def _has_leader(self):
        self.check_servers()
        return any("new metadata leader" in server.said() for server in self.servers.values())

    def client(self):
        return self.network.load_at, [self._client], ",".join(self.network.ip(host) for host in self.hosts)
