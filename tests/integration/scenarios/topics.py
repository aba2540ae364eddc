"""Topics made by many at once, and topics deleted while a broker is away."""

from checks import check_equal
from client import compare_lines
from scenario import Need, scenario

TOPICS, PRODUCERS = 24, 3
RECORDS = 20


@scenario("topics")
def topics(run):
    """A topic that is written to for the first time is made once, whoever asks whom at the same time."""
    cluster = run.cluster(3).start()
    for number in range(TOPICS):
        name = f"new-{number}"
        # Each asks all brokers at once; the topic is made by the first that the leader hears.
        count = PRODUCERS if number % 2 else 1
        producers = [cluster.producer(name, "--message", str(each)) for each in range(count)]
        for producer in producers:
            producer.succeed(20)
        compare_lines(
            sorted(cluster.read(name)),
            [str(each).encode() for each in range(count)],
            f"the first records of {name}, sorted",
        )
    for broker in cluster.brokers:
        check_equal(broker.status()["topics"], TOPICS, f"topics that {broker} knows")
    cluster.verify()
    return f"{TOPICS} topics, each made once by up to {PRODUCERS} producers that ask 3 brokers at a time"


@scenario("topics-deleted-away", Need.HOSTS)
def topics_deleted_away(run):
    """A broker that was cut off, and one that was killed, come back to a cluster that deleted their topics."""
    cluster = run.cluster(3).start()
    ways = {
        "cut off": (lambda broker: cluster.network.cut(broker.number), lambda _: cluster.network.heal()),
        "killed": (lambda broker: broker.kill(), lambda broker: broker.start()),
    }
    for number, (how, (away, back)) in enumerate(ways.items()):
        gone, kept = f"gone-{number}", f"kept-{number}"
        for topic in (gone, kept):
            for each in range(RECORDS):
                cluster.producer(topic, "--message", str(each)).succeed(20)
        leader = cluster.leader()
        victim = next(broker for broker in cluster.brokers if broker is not leader)
        others = [broker for broker in cluster.brokers if broker is not victim]
        away(victim)
        cluster.wait_for_view(others)
        cluster.ctl("topics", "delete", gone, at=leader.place, brokers=others)
        back(victim)
        cluster.wait_for_view(cluster.brokers)
        cluster.wait_until(
            lambda left=number + 1: all((broker.status() or {}).get("topics") == left for broker in cluster.brokers),
            10,
            f"all brokers have forgotten {gone}; one of them was {how}",
        )
        lines = [str(each).encode() for each in range(RECORDS)]
        compare_lines(cluster.read(kept), lines, f"{kept} after the return")
        # The name is free again, and nothing of the old topic comes back under it.
        cluster.producer(gone, "--message", "new").succeed(20)
        compare_lines(cluster.read(gone), [b"new"], f"{gone}, made again")
        cluster.ctl("topics", "delete", gone)
    cluster.verify()
    return f"topics deleted while a broker was {' or '.join(ways)} are gone from it, too"
