"""Usage: idle_clients.py N ADDRESS…: N connections, shared out among the addresses, until standard input ends."""

import socket
import sys

count, addresses = int(sys.argv[1]), [address.rsplit(":", 1) for address in sys.argv[2:]]
open_connections = [socket.create_connection(addresses[i % len(addresses)], 5) for i in range(count)]
print(len(open_connections), flush=True)
sys.stdin.read()
