"""A capture shows every message of the protocol on its transport, decoded by an independent decoder of the headers and
the project's own .proto."""

from collections import Counter, defaultdict

import wire
from capture import Capture
from checks import check, check_equal
from scenario import Need, scenario

# Message and where it is seen.
EXPECTED = [
    ("JOIN", "broadcast"),
    ("JOIN_RESPONSE", "unicast"),
    ("HEARTBEAT", "multicast"),
    ("HEARTBEAT", "tcp"),
    ("REPLICATE", "multicast"),
    ("NACK", "unicast"),
    ("REPLICATE_ACK", "tcp"),
    ("ELECTION", "tcp"),
    ("STATE_EXCHANGE", "tcp"),
    ("VIEW_INSTALL", "tcp"),
    ("FETCH", "tcp"),
    ("PRODUCE", "tcp"),
    ("SUBSCRIBE", "tcp"),
    ("METADATA", "tcp"),
    ("REASSIGN_BROKER", "tcp"),
]
WITH_RESPONSE = ["STATE_EXCHANGE", "VIEW_INSTALL", "FETCH", "PRODUCE", "SUBSCRIBE", "METADATA"]
DATAGRAMS = {
    "JOIN": "broadcast",
    "JOIN_RESPONSE": "unicast",
    "HEARTBEAT": "multicast",
    "REPLICATE": "multicast",
    "NACK": "unicast",
    "NACK_GONE": "unicast",
    "PROBE_MULTICAST": "multicast",
}
RECORDS = 1500
LOSS = "udp dport 9999 @th,104,8 4 numgen random mod 100 < 20"  # frames of records, one in five


@scenario("protocol-compliance", Need.HOSTS, Need.PACKETS)
def protocol_compliance(run):
    network = run.network(3)
    capture = Capture(run, *network.tap())
    cluster = run.cluster(3, network).start()
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    other = next(broker for broker in cluster.brokers if broker is not owner)
    network.lose(other.number, LOSS)
    lines = run.numbered_lines(RECORDS)
    cluster.producer(
        topic, "--file", run.write("app.in", lines), "--rate", RECORDS, "--linger", 0, brokers=None
    ).succeed(60)
    cluster.wait_until(lambda: owner.status()["replication"]["nacks_received"] > 0, 10, "the owner gets a NACK")
    network.heal()
    cluster.consumer(topic, "--group", "readers", "--count", len(lines)).succeed(30)
    answer = _ask_the_wrong_broker(cluster, topic, owner, other)
    other.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not other])
    cluster.producer(topic, "--message", "while one is away").succeed(30)
    other.start()
    cluster.wait_for_view(cluster.brokers)
    seen = capture.stop()

    found = Counter((each.type, each.transport) for each in seen)
    for pair in EXPECTED:
        check(found[pair], f"the capture shows no {pair[0]} by {pair[1]}; it shows {dict(found)}")
    responses = Counter(each.type for each in seen if each.transport == "tcp" and each.content.is_response)
    for kind in WITH_RESPONSE:
        check(responses[kind], f"the capture shows no response to {kind}")
    check_equal(answer.owner.port, owner.place.port, "port of the owner that REASSIGN_BROKER names")
    _check_transports(seen, owner)
    _check_contents(cluster, seen)
    check(
        any(
            each.type == "FETCH" and not each.content.is_response and each.content.parse().catch_up_limit > 0
            for each in seen
        ),
        "no broker caught up by FETCH",
    )
    return f"{len(seen)} frames and messages decoded, {len(EXPECTED)} kinds on their transports"


def _ask_the_wrong_broker(cluster, topic, owner, other):
    request = wire.protobuf("Metadata")
    request.topics.append(topic)
    metadata = other.ask("METADATA", request).parse()
    fetch = wire.protobuf("Fetch")
    fetch.cluster_id, fetch.topic, fetch.max_bytes = metadata.cluster_id, metadata.topics[0].topic, 1000
    answer = other.ask("FETCH", fetch, at=cluster.client_place)  # over the wire, and not within the broker's own host
    check_equal(answer.type, "REASSIGN_BROKER", f"what {other} answers to a FETCH that is for {owner}")
    return answer.parse()


def _check_transports(seen, owner):
    for each in seen:
        if each.transport == "tcp":
            check(
                each.type not in ("REPLICATE", "NACK", "JOIN", "JOIN_RESPONSE"),
                f"{each.type} by TCP, from {each.source}",
            )
        else:
            check_equal(
                each.transport, DATAGRAMS.get(each.type), f"transport of the {each.type} datagram from {each.source}"
            )
    frames = [each for each in seen if each.type == "REPLICATE" and each.source[0] == owner.place.ip]
    for nack in (each for each in seen if each.type == "NACK" and each.target[0] == owner.place.ip):
        check_equal(nack.target, frames[0].source, "where a NACK goes, against where the frames come from")
    sessions = defaultdict(list)  # view -> its frames, each once; what comes again was asked for
    for each in frames:
        session = sessions[each.content.view]
        if not session or each.content.sequence > session[-1].sequence:
            session.append(each.content)
    records = 0
    for view, session in sessions.items():
        for before, after in zip(session, session[1:]):
            check_equal(
                after.sequence, before.sequence + 1, f"the frame of view {view} that follows frame {before.sequence}"
            )
        records += sum(batch.records for _, batches in wire.session_batches(session) for batch in batches)
    check(records >= RECORDS, f"the owner's frames carry {records} records; {RECORDS} were sent")


def _check_contents(cluster, seen):
    for each in seen:
        check_equal(each.content.tag, cluster.tag, f"cluster tag of the {each.type} from {each.source}")
        if each.type == "REPLICATE":
            continue
        message = each.content.parse()
        check(not message.UnknownFields(), f"{each.type} from {each.source} has fields that the .proto does not know")
        if each.transport == "tcp" and each.type in ("PRODUCE", "FETCH"):
            wire.decode_batches(each.content.body)
