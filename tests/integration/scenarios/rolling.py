"""Every broker is restarted in order, one after the other, and no client notices."""

import os

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


def _protocols(cluster):
    """The version of the protocol that the view uses, as each broker says."""
    cluster.wait_for_view(cluster.brokers)
    return {broker.status().get("protocol", 1) for broker in cluster.brokers}


def _restart_as(cluster, broker, program):
    broker.stop()
    cluster.wait_for_view([other for other in cluster.brokers if other is not broker])
    broker.program = program
    broker.start()


def _upgrade_under_load(run, cluster, program, version):
    """Every broker becomes `program`, one after the other, the first one there and back, while records come and go. Until
    the last one has, the view uses version 1 of the protocol, then `version`. The longest wait, in ms."""
    load = Load(cluster, cluster.create_topic("upgraded"), seconds=max(10, run.load_seconds()))
    load.reach(0.1)
    first, *others = cluster.brokers
    check_equal(_protocols(cluster), {1}, "version of the protocol at the start")
    for each in (program, first.program, program):
        _restart_as(cluster, first, each)
        check_equal(_protocols(cluster), {1}, f"version with {first} as {each}")
    for broker in others:
        check_equal(_protocols(cluster), {1}, f"version before {broker} is upgraded")
        _restart_as(cluster, broker, program)
    check_equal(_protocols(cluster), {version}, "version when all are upgraded")
    gap = load.finish()
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")
    check_equal(load.consumer.errors(), "", "what the consumer says on stderr")
    return gap


@scenario("upgrade")
def upgrade(run):
    """Brokers of this version and of the next one are one cluster; each can go back until all have been upgraded."""
    cluster = run.cluster(3).start()
    gap = _upgrade_under_load(run, cluster, "logstream-next", 2)
    first = cluster.brokers[0]
    first.stop()
    first.program = "logstream"
    first.start()
    check_equal(first.end_by_itself(20), 1, "exit code of an older program on a newer folder")
    check("data folder has version 2" in first.log(), f"what it says: {first.process.last_words()}")
    first.program = "logstream-next"
    first.start()
    cluster.wait_for_view(cluster.brokers)
    cluster.verify()
    return f"write gap {gap:.0f} ms over five restarts, one of them back to the version before"


@scenario("upgrade-from", default=False)
def upgrade_from(run):
    """A cluster of an earlier release, --release, becomes one of this version, broker by broker, and goes on."""
    check(run.release, "name the folder of the earlier release's programs by --release")
    cluster = run.cluster(3)
    for broker in cluster.brokers:
        broker.program = os.path.join(run.release, "logstream")
    gap = _upgrade_under_load(run, cluster.start(), "logstream", 1)
    cluster.verify()
    return f"write gap {gap:.0f} ms over five restarts, one of them back to the release"
