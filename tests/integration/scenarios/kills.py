"""kill -9 of one broker under load: nothing is lost, nothing comes twice, and writes go on."""

from checks import Stopwatch, check, patient
from client import Load
from scenario import scenario

LONGEST_GAP_MS = 3000  # looser than what is promised (1 s): this machine may be busy


@scenario("stream-failover")
def stream_failover(run):
    return _kill(run, lambda cluster, leader, owner: owner)


@scenario("leader-kill")
def leader_kill(run):
    return _kill(run, lambda cluster, leader, owner: leader)


@scenario("follower-kill")
def follower_kill(run):
    return _kill(run, lambda cluster, leader, owner: next(b for b in cluster.brokers if b not in (leader, owner)))


def _kill(run, choose):
    """The topic's owner is not the leader, so that each kill takes one role away."""
    cluster = run.cluster(3).start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is not leader)
    victim = choose(cluster, leader, owner)
    load = Load(cluster, topic)
    moment = load.reach_random_moment()
    victim.kill()
    watch = Stopwatch()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not victim])
    changed = watch.seconds
    gap = load.finish()
    check(gap < patient(LONGEST_GAP_MS), f"a record waited {gap:.0f} ms for its acknowledgement")
    watch = Stopwatch()
    victim.start()
    cluster.wait_for_view(cluster.brokers)
    returned = watch.seconds
    cluster.verify()
    return (
        f"write gap {gap:.0f} ms, new view after {changed * 1000:.0f} ms, killed at {moment:.0%} of {len(load.lines)} "
        f"records, back as a member {returned:.2f} s after its start"
    )
