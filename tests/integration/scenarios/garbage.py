"""Garbage, replayed frames, floods and half-open connections on every port: counted, dropped, and service goes on."""

import contextlib
import os
import socket
import struct

import wire
from checks import check
from client import Load
from network import connect, datagram_socket
from scenario import scenario

CONNECTIONS = 40
RANDOM_BYTES = 1 << 20  # on each of them
DATAGRAMS = 5_000  # to each port
HALF_OPEN = 1_000
JOINS = 5_000
MOST_RESIDENT = 128 << 20


@scenario("garbage", namespaces=True)
def garbage(run):
    cluster = run.cluster(3).start()
    view = cluster.wait_for_view()["view"]
    topic = cluster.create_topic("garbage")
    victim = cluster.owner(topic)
    load = Load(cluster, topic, seconds=8)
    load.reach(0.1)
    with contextlib.ExitStack() as stack:
        idle = _half_open(stack, cluster, victim)
        # They must not keep out who has something to say.
        cluster.producer(topic + "-new", "--message", "still let in", brokers=[victim]).succeed(20)
        _tcp(run, cluster, victim)
        _udp(run, cluster, victim)
        _joins(run, cluster)
        gap = load.finish()
        check(idle > HALF_OPEN / 2, f"only {idle} connections stayed open")
    for broker in cluster.brokers:
        resident = broker.resident_bytes()
        check(resident < MOST_RESIDENT, f"{broker} takes {resident >> 20} MiB after the garbage")
    network = victim.status()["network"]
    for counter in ("datagrams_garbage", "datagrams_bad_checksum", "datagrams_other_cluster", "messages_garbage",
                    "messages_bad_checksum", "messages_too_large", "messages_other_cluster"):
        check(network[counter] > 0, f"{victim} counted no {counter}: {network}")
    cluster.verify()
    changes = cluster.wait_for_view()["view"] - view
    check(changes == 0, f"{changes} view changes because of garbage")
    dropped = sum(count for name, count in network.items() if name.startswith(("datagrams_", "messages_")) and
                  name.split("_", 1)[1] in ("garbage", "bad_checksum", "other_cluster", "too_large"))
    return (
        f"{dropped} datagrams and messages dropped and counted, {idle} half-open connections; "
        f"longest wait {gap:.0f} ms, no view change, {victim.resident_bytes() >> 20} MiB resident"
    )


def _half_open(stack, cluster, victim):
    """Connections that never say anything, or stop in the middle of a message."""
    message = wire.encode_message("METADATA", cluster.tag, wire.protobuf("Metadata"))
    opened = 0
    for number in range(HALF_OPEN):
        try:
            connection = stack.enter_context(
                connect(cluster.client_place, (victim.place.ip, victim.place.port), 5)
            )
            connection.sendall(message[: number % len(message)])
            opened += 1
        except OSError:
            break  # refused over the limit
    return opened


def _tcp(run, cluster, victim):
    valid = wire.encode_message("METADATA", cluster.tag, wire.protobuf("Metadata"))
    for number in range(CONNECTIONS):
        kind = number % 4
        data = {
            0: lambda: run.random.randbytes(RANDOM_BYTES),
            1: lambda: _flipped(run, valid) * 10,
            2: lambda: _claims(cluster.tag, 0xFFFFFFF0),
            3: lambda: wire.encode_message("METADATA", cluster.tag ^ 1, wire.protobuf("Metadata")),
        }[kind]()
        with connect(cluster.client_place, (victim.place.ip, victim.place.port), 5) as connection:
            with contextlib.suppress(OSError):  # it hangs up on us
                connection.sendall(data)
                while connection.recv(1 << 16):
                    pass


def _flipped(run, data):
    """Valid but for one bit."""
    at = run.random.randrange(16, len(data))
    return data[:at] + bytes([data[at] ^ 1 << run.random.randrange(8)]) + data[at + 1 :]


def _claims(tag, size):
    """A PRODUCE whose header says that a body of `size` bytes follows."""
    header = wire.MESSAGE_HEADER
    fixed = [wire.MESSAGE_MAGIC, wire.VERSION, wire.NUMBERS["PRODUCE"], 0, header.size // 4, tag, 0, 1, 0, size]
    fixed[6] = wire.crc32c(header.pack(*fixed))
    return header.pack(*fixed) + os.urandom(1000)


def _udp(run, cluster, victim):
    network = cluster.network
    group, group_port = network.multicast.split(":")
    targets = [(victim.place.ip, victim.place.port), (network.broadcast_address, network.broadcast_port),
               (group, int(group_port))]
    heartbeat = wire.protobuf("Heartbeat")
    valid = [
        wire.encode_frame("HEARTBEAT", cluster.tag, heartbeat, view=1, sender=7),  # of nobody
        wire.encode_frame("REPLICATE", cluster.tag, heartbeat, view=1, sender=int(victim.id, 16), sequence=1),  # old
        wire.encode_frame("HEARTBEAT", cluster.tag ^ 1, heartbeat, view=1, sender=7),  # of another cluster
    ]
    with datagram_socket(cluster.client_place) as sender:
        for number in range(DATAGRAMS):
            for target in targets:
                kind = number % 6
                if kind < 3:
                    data = valid[kind]
                elif kind == 3:
                    data = _flipped(run, valid[0])
                else:
                    data = run.random.randbytes(run.random.randrange(1, 1400))
                sender.sendto(data, target)


def _joins(run, cluster):
    """Brokers that do not exist ask to be let in, one after the other."""
    with datagram_socket(cluster.client_place) as sender:
        for number in range(JOINS):
            join = wire.protobuf("Join")
            join.node.id, join.node.incarnation = run.random.getrandbits(63) | 1, 1
            join.node.ip, join.node.port = struct.unpack(">I", socket.inet_aton("10.77.0.250"))[0], 1024 + number
            join.node.name = f"ghost-{number}"
            sender.sendto(
                wire.encode_frame("JOIN", cluster.tag, join, sender=join.node.id),
                (cluster.network.broadcast_address, cluster.network.broadcast_port),
            )
