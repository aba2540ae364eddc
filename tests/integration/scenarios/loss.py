"""A network that loses datagrams, and one that loses a single link."""

from checks import Stopwatch, check
from client import Load
from scenario import scenario

PERCENT = 5


@scenario("loss", namespaces=True)
def loss(run):
    """Some datagrams to each broker are lost at random: NACKs bring them back, and nobody is thrown out for it."""
    cluster = run.cluster(3).start()
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    view = cluster.wait_for_view()["view"]
    for broker in cluster.brokers:
        cluster.network.lose(broker.number, f"ip protocol udp numgen random mod 100 < {PERCENT}")
    load = Load(cluster, topic)
    gap = load.finish()
    counters = owner.status()["replication"]
    cluster.network.heal()
    check(counters["nacks_received"] > 0 and counters["frames_resent"] > 0, f"nothing was lost: {counters}")
    changes = cluster.wait_for_view()["view"] - view
    check(changes == 0, f"{changes} view changes in a network that loses {PERCENT}%")
    cluster.verify()
    return (
        f"{PERCENT}% loss: longest wait {gap:.0f} ms, {counters['frames_sent']} frames, "
        f"{counters['frames_resent']} sent again, {counters['nacks_received']} NACKs, no view change"
    )


@scenario("link-cut", namespaces=True)
def link_cut(run):
    """Two members lose each other while both reach the leader: one of them goes, and comes back after the heal."""
    cluster = run.cluster(3).start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is not leader)
    other = next(broker for broker in cluster.brokers if broker not in (leader, owner))
    load = Load(cluster, topic)
    load.reach_random_moment()
    cluster.network.cut(owner.number, [other.number])
    watch = Stopwatch()

    def one_left_out():
        members = leader.status()["members"]
        return sum(member["role"] != "learner" for member in members) == 2

    cluster.wait_until(one_left_out, 20, f"the leader takes {owner} or {other} out of the view")
    removed, view = watch.seconds, leader.status()["view"]
    gap = load.finish()
    changes = leader.status()["view"] - view
    check(changes == 0, f"{changes} view changes while the link was down and one of the two had been removed")
    cluster.network.heal()
    watch = Stopwatch()
    cluster.wait_for_view(cluster.brokers, seconds=60)
    returned = watch.seconds
    cluster.verify()
    return (
        f"write gap {gap:.0f} ms, one of the two removed after {removed * 1000:.0f} ms and left out, "
        f"back {returned:.2f} s after the heal"
    )
