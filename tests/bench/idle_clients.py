"""Usage: idle_clients.py N ADDRESS…: N clients' connections, shared out among the addresses, until standard input ends.

Each asks for the cluster's view once, as a client does: a connection that never says anything is closed.
"""

import os
import socket
import sys

sys.path.append(os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "integration"))

import wire  # noqa: E402

ANY_CLUSTER = 0


class EmptyRequest:
    def SerializeToString(self):
        return b""


def connect(address):
    connection = socket.create_connection(address, 5)
    wire.ask(connection, ANY_CLUSTER, "METADATA", EmptyRequest())
    return connection


count, addresses = int(sys.argv[1]), [address.rsplit(":", 1) for address in sys.argv[2:]]
open_connections = [connect(addresses[i % len(addresses)]) for i in range(count)]
print(len(open_connections), flush=True)
sys.stdin.read()
