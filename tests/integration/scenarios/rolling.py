"""Every broker is restarted in order, one after the other, and no client notices."""

from checks import check, check_equal
from client import Load
from scenario import scenario

LONGEST_GAP_MS = 2000


@scenario("rolling")
def rolling(run):
    cluster = run.cluster(3).start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is not leader)
    load = Load(cluster, topic, seconds=max(10, run.load_seconds()))
    load.reach(0.1)
    for broker in [owner, leader] + [b for b in cluster.brokers if b not in (leader, owner)]:
        broker.stop()
        cluster.wait_for_view([other for other in cluster.brokers if other is not broker])
        broker.start()
        cluster.wait_for_view(cluster.brokers)
    under_load = load.producer.running
    gap = load.finish()
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")
    check_equal(
        len(load.producer.errors().strip().splitlines()), 1, "lines of the producer on stderr, the summary among them"
    )
    check_equal(load.consumer.errors(), "", "what the consumer says on stderr")
    cluster.verify()
    late = "" if under_load else " (the last of them after the load)"
    return f"write gap {gap:.0f} ms over three restarts{late}, nothing on stderr"
