"""A network that lets neither broadcast nor multicast through, as clouds do: seeds find the brokers, TCP replicates."""

from checks import Stopwatch, check, check_equal
from client import Load
from scenario import Need, scenario

LONGEST_GAP_MS = 5000
# All are lost to each other at once, so several attempts may cross.
MOST_VIEWS = 8


@scenario("no-multicast", Need.HOSTS)
def no_multicast(run):
    network = run.network(3)
    for host in (1, 2, 3, network.client):
        network.lose(host, "ether type ip pkttype { broadcast, multicast }")
    cluster = run.cluster(3, network)
    cluster.settings["discovery.seeds"] = ",".join(broker.address for broker in cluster.brokers)
    cluster.start()
    for broker in cluster.brokers:
        check_equal(broker.status()["transport"], "tcp", f"transport that {broker} names")
    leader = cluster.leader()
    warnings = leader.log_matches(r" W .*multicast.*")
    check(
        any("netdiag" in line for line in warnings), f"the leader does not say what to fix about multicast: {warnings}"
    )
    topic, owner = cluster.topic_owned_by(lambda broker: broker is not leader)
    load = Load(cluster, topic, seconds=3)
    load.reach_random_moment()
    owner.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not owner])
    gap = load.finish()
    owner.start()
    cluster.wait_for_view(cluster.brokers)
    cluster.verify()
    # The network is repaired: the next view uses it.
    network.heal()
    owner.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not owner])
    owner.start()
    _wait_for_transport(cluster, "multicast")
    return (
        f"found by seeds, replicated by TCP with a warning, owner killed: write gap {gap:.0f} ms; "
        "multicast after the repair"
    )


@scenario("multicast-lost", Need.HOSTS)
def multicast_lost(run):
    """Multicast stops passing in the middle of a load, and passes again later: the brokers go on by TCP, say so in one
    warning, and return to multicast by themselves."""
    cluster = run.cluster(3).start()
    topic, _ = cluster.topic_owned_by(lambda broker: True)
    view = cluster.wait_for_view()["view"]
    load = Load(cluster, topic, seconds=10)
    load.reach(0.1)
    hosts = (1, 2, 3, cluster.network.client)
    for host in hosts:
        cluster.network.lose(host, "ether type ip pkttype multicast")
    tcp = _wait_for_transport(cluster, "tcp")
    load.reach(0.5)
    cluster.network.heal()
    multicast = _wait_for_transport(cluster, "multicast")
    gap = load.finish()
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")
    views = cluster.wait_for_view()["view"] - view
    check(views <= MOST_VIEWS, f"{views} views because multicast was lost and came back")
    warnings = sum(len(broker.log_matches(r" W .*multicast does not reach")) for broker in cluster.brokers)
    check_equal(warnings, 1, "warnings that multicast does not reach every member")
    cluster.verify()
    return (
        f"by TCP after {tcp:.2f} s, by multicast {multicast:.2f} s after the repair; write gap {gap:.0f} ms, {views} views"
    )


def _wait_for_transport(cluster, transport):
    """How long it took until all are one view that replicates so."""
    watch = Stopwatch()

    def there():
        view = cluster.wait_for_view(cluster.brokers)
        return view["transport"] == transport, f"{view['transport']} in view {view['view']}"

    cluster.wait_until(there, 20, f"replication by {transport}")
    return watch.seconds
