"""One broker, three brokers, and what holds while nothing fails."""

from checks import Stopwatch, check, check_equal
from client import compare_lines
from scenario import Need, scenario


@scenario("single")
def single(run):
    """One broker becomes leader and serves; what it took in is there after it was killed."""
    cluster = run.cluster(1)
    broker = cluster.brokers[0]
    watch = Stopwatch()
    broker.start()
    status = cluster.wait_for_view()
    serving = watch.seconds
    check_equal(status["role"], "leader", "role of the only broker")
    check(
        broker.log_matches(r"ClusterState view=\d+ leader=\w+ members=1 role=leader"), "no ClusterState line in its log"
    )
    check(
        broker.log_matches(rf"READY {broker.name} [\d.:\[\]a-f]+ view 1, data /\S+, (page http://\S+/|no page)\n"),
        "no READY line in its log",
    )
    lines = run.log_lines()
    cluster.producer("app", "--file", run.write("app.in", lines), brokers=None).succeed(30)
    compare_lines(cluster.read("app", brokers=None), lines, "read back")
    broker.kill()
    broker.start()
    cluster.wait_for_view()
    compare_lines(cluster.read("app", brokers=None), lines, "read back after kill -9 and a new start")
    return f"serves {serving:.2f} s after its start, {len(lines)} lines in and out, found by broadcast"


@scenario("trio", Need.HOSTS)
def trio(run):
    """Three brokers form one view; a record costs its owner one datagram, however many replicas there are."""
    cluster = run.cluster(3)
    watch = Stopwatch()
    cluster.start()
    formed = watch.seconds
    for broker in cluster.brokers:
        check_equal(broker.status()["transport"], "multicast", f"transport that {broker} names")
    leaders = [broker for broker in cluster.brokers if broker.status()["role"] == "leader"]
    check_equal(len(leaders), 1, "leaders")
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    lines = run.numbered_lines(30_000)
    payload = sum(map(len, lines))
    counters, sent = owner.status()["replication"], cluster.network.bytes_sent(owner.number)
    # On the owner's own host the producer's bytes go over lo, and eth0 is left to replication.
    cluster.producer(topic, "--file", run.write("app.in", lines), at=owner.place, brokers=[owner]).succeed(60)
    sent = cluster.network.bytes_sent(owner.number) - sent
    after = owner.status()["replication"]
    framed, resent = (after[key] - counters[key] for key in ("payload_bytes", "frames_resent"))
    check(sent >= payload, f"the owner's interface sent {sent} bytes for {payload} of payload: what did replicate?")
    check(
        sent <= (1.3 + cluster.network.repeats) * payload,  # short lines have as much to them as long ones
        f"the owner's interface sent {sent} bytes for {payload} of payload: more than each once; "
        f"{resent} frames were sent again",
    )
    check(payload <= framed <= 1.3 * payload, f"the owner counts {framed} payload bytes sent for {payload}")
    compare_lines(cluster.read(topic), lines, "read back")
    cluster.verify()
    return (
        f"one view {formed:.2f} s after the start; {payload} bytes of payload, {sent} on the owner's wire "
        f"({sent / payload:.3f}), {resent} frames sent again"
    )


@scenario("sequence")
def sequence(run):
    """Four producers write to one stream at a time: each one's records stay in its order, and none is missing."""
    cluster = run.cluster(3).start()
    cluster.create_topic("app")
    inputs = {prefix: run.numbered_lines(5000, f"{prefix} ") for prefix in "abcd"}
    watch = Stopwatch()
    producers = [
        cluster.producer("app", "--file", run.write(f"{prefix}.in", lines), "--rate", 4000)
        for prefix, lines in inputs.items()
    ]
    for producer in producers:
        producer.succeed(60)
    seconds = watch.seconds
    found = cluster.read("app")
    check_equal(len(found), sum(map(len, inputs.values())), "records of all producers")
    for prefix, lines in inputs.items():
        compare_lines([line for line in found if line.startswith(prefix.encode())], lines, f"producer {prefix}")
    turns = sum(1 for a, b in zip(found, found[1:]) if a[:1] != b[:1])
    check(turns >= 4, "the producers wrote one after the other: nothing was tested")
    cluster.verify()
    return f"{len(found)} records of 4 producers, {turns} changes between them, {seconds:.1f} s"
