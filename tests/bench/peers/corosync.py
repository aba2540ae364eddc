import json
import os

from peers.peer import LOADS, Peer
from processes import Process, wait_until

_CONFIG = """
totem {{
    version: 2
    cluster_name: bench
    transport: udp
    crypto_cipher: none
    crypto_hash: none
    interface {{
        ringnumber: 0
        bindnetaddr: {address}
        mcastaddr: 239.78.0.1
        mcastport: 5405
    }}
}}
nodelist {{
{nodes}
}}
logging {{
    to_stderr: yes
    to_syslog: no
}}
"""
_NODE = """
    node {{
        ring0_addr: {address}
        nodeid: {host}
        name: n{host}
    }}"""


class Corosync(Peer):
    """Corosync's closed process groups: Totem's total order over UDP multicast. A client talks to the daemon of its own
    host only, so the load is on the first broker's host."""

    name = "corosync"
    durability = "in its place in the total order, in memory: nothing is stored (CPG, agreed delivery to the sender)"

    def start(self):
        self.need("corosync")
        self._client = self.compile("corosync_load.cpp", "-lcpg", "-lcorosync_common", "-lpthread")
        nodes = "".join(_NODE.format(address=self.network.ip(host), host=host) for host in self.hosts)
        # The daemon's folders can't be chosen; but a host has a mount namespace of its own.
        hide = "; ".join(f"mkdir -p {path} && mount -t tmpfs tmpfs {path}" for path in ("/run", "/var/lib/corosync"))
        for host in self.hosts:
            config = self.file(f"{host}.conf", _CONFIG.format(address=self.network.ip(host), nodes=nodes))
            self.serve(host, "sh", "-c", f"{hide}; exec corosync -f -c {config}")
        wait_until(self._complete, 30, "corosync's three hosts are one membership")

    def _complete(self):
        self.check_servers()
        return all("Sync members[3]" in server.said() for server in self.servers.values())

    def client(self):
        return self.network.at(1), [self._client], "bench"

    def measure(self, load):
        """The two other hosts listen; one of them tells when a record was delivered there."""
        _, size = LOADS[load]
        words = [self._client, "bench", "listen", size, self.bench.seconds + 1, self.bench.warm_up]
        listeners = [
            Process([*self.network.at(host), *words], os.path.join(self.folder, f"listener-{load}-{host}"))
            for host in (2, 3)
        ]
        result = super().measure(load)
        told = [json.loads(listener.wait(30)) for listener in listeners]
        return result | {"deliver_us": told[0]["deliver_us"]}
