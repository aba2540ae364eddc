"""Clients in numbers, and clients that behave badly: the others do not notice."""

import contextlib
import socket

import wire
from checks import Stopwatch, check
from client import Load
from scenario import scenario

CONNECTIONS = 1_000
WAVE = 250  # of them at a time
LAZY = 40  # readers that never read
FETCHES = 50  # that each of them asks for
FETCH_BYTES = 4 << 20
MOST_RESIDENT = 256 << 20
LONGEST_GAP_MS = 2_000


@scenario("crowd")
def crowd(run):
    """A thousand clients come, ask, and go, some without a word, in the middle of a load."""
    cluster = run.cluster(3).start()
    topic = cluster.create_topic("app")
    view, before = cluster.wait_for_view()["view"], _connections(cluster)
    load = Load(cluster, topic)
    load.reach(0.1)
    request = wire.protobuf("Metadata")
    request.topics.append(topic)
    for _ in range(CONNECTIONS // WAVE):
        with contextlib.ExitStack() as stack:
            for number in range(WAVE):
                place = cluster.brokers[number % 3].place
                connection = stack.enter_context(cluster.client_place.connect((place.ip, place.port), 5))
                known = wire.ask(connection, cluster.tag, "METADATA", request).parse()
                check(known.topics[0].topic != 0, f"client {number} is not told of the topic: {known}")
                if number % 2:  # it closes with a reset
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    gap = load.finish()
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")

    def gone():
        now = _connections(cluster)
        return now <= before, f"{now} connections, {before} before"

    cluster.wait_until(gone, 30, "the brokers have forgotten the clients")
    check(cluster.wait_for_view()["view"] == view, "the view changed because of clients")
    cluster.verify()
    return f"{CONNECTIONS} clients came and went; longest wait {gap:.0f} ms, no view change"


@scenario("lazy-readers")
def lazy_readers(run):
    """Readers that ask for far more than they take: bounded memory, and the others go on."""
    cluster = run.cluster(3).start()
    topic = cluster.create_topic("app")
    owner = cluster.owner(topic)
    lines = [line.ljust(1000, b".") for line in run.numbered_lines(30_000)]
    cluster.producer(topic, "--file", run.write("app.in", lines)).succeed(60)
    known = wire.protobuf("Metadata")
    known.topics.append(topic)
    metadata = owner.ask("METADATA", known).parse()
    fetch = wire.protobuf("Fetch")
    fetch.cluster_id, fetch.topic, fetch.max_bytes = metadata.cluster_id, metadata.topics[0].topic, FETCH_BYTES
    asked = wire.encode_message("FETCH", cluster.tag, fetch, correlation=1) * FETCHES
    load = Load(cluster, cluster.create_topic("busy"))
    with contextlib.ExitStack() as stack:
        for _ in range(LAZY):
            connection = stack.enter_context(cluster.client_place.connect((owner.place.ip, owner.place.port), 5))
            connection.settimeout(1)
            with contextlib.suppress(OSError):  # not taken any more, or hung up on
                connection.sendall(asked)
        load.reach(0.5)
        resident = max(broker.resident_bytes() for broker in cluster.brokers)
        gap = load.finish()
        resident = max(resident, *(broker.resident_bytes() for broker in cluster.brokers))
    check(resident < MOST_RESIDENT, f"a broker takes {resident >> 20} MiB for readers that do not read")
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")
    cluster.verify()
    wanted = LAZY * FETCHES * FETCH_BYTES >> 30
    return f"{LAZY} readers asked for {wanted} GiB and took nothing: {resident >> 20} MiB, longest wait {gap:.0f} ms"


@scenario("group-death")
def group_death(run):
    """A consumer dies holding half of a group's partitions: the other one takes them over where it had committed."""
    cluster = run.cluster(3).start()
    topic = cluster.create_topic("app", partitions=4)
    flags = ["--group", "readers", "--session-timeout", 2, "--follow"]
    dying, staying = (cluster.consumer(topic, *flags) for _ in range(2))

    def both():
        members = max(broker.status()["clients"]["group_members"] for broker in cluster.brokers)
        return members == 2, f"{members} members"

    cluster.wait_until(both, 20, "both consumers are members of the group")
    lines = run.numbered_lines(4_000)
    producer = cluster.producer(topic, "--file", run.write("app.in", lines), "--rate", 1_000)
    cluster.wait_until(lambda: dying.line_count() > 200, 20, "the one that will die reads")
    dying.kill()
    watch = Stopwatch()
    producer.succeed(30)

    def everything():
        missing = set(lines) - set(dying.lines()) - set(staying.lines())
        return not missing, f"{len(missing)} lines nobody has read"

    cluster.wait_until(everything, 30, "the other one has read what the dead one did not")
    taken = watch.seconds
    twice = len(dying.lines()) + len(staying.lines()) - len(lines)
    # What it had read and not committed; it commits as it goes.
    check(twice < len(lines) / 2, f"{twice} records were read twice")
    cluster.verify()
    return f"all read {taken:.1f} s after the death (a session lasts 2 s); {twice} records came to both"


def _connections(cluster):
    return sum(broker.status()["clients"]["connections"] for broker in cluster.brokers)
