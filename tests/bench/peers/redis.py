from peers.peer import Peer
from processes import Failure, run, wait_until


class Redis(Peer):
    """Redis Streams: XADD, then WAIT 2."""

    name = "redis"
    durability = "flushed by the master (appendfsync always), received by both replicas, flushed there soon after"

    def start(self):
        self.need("redis-server", "redis-cli")
        for host in self.hosts:
            flags = ["--bind", self.network.ip(host), "--port", 6379, "--protected-mode", "no", "--save", ""]
            flags += ["--appendonly", "yes", "--appendfsync", "always", "--dir", self.folder]
            flags += ["--dbfilename", f"{host}.rdb", "--appenddirname", f"append-{host}"]
            flags += ["--auto-aof-rewrite-percentage", 0, "--repl-diskless-sync-delay", 0]
            if host != 1:
                flags += ["--replicaof", self.network.ip(1), 6379]
            self.serve(host, "redis-server", *flags)
        wait_until(self._replicated, 20, "redis has two replicas")
        self._client = self.compile("redis_load.cpp", "-lhiredis", "-lpthread")

    def _replicated(self):
        self.check_servers()
        try:
            told = run([*self.network.load_at, "redis-cli", "-h", self.network.ip(1), "info", "replication"])
        except Failure:
            return False
        return told.count("state=online") == 2

    def client(self):
        return self.network.load_at, [self._client], self.network.ip(1)
