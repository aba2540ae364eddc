"""A network that lets neither broadcast nor multicast through, as clouds do: seeds find the brokers, TCP replicates."""

from checks import check, check_equal
from client import Load
from scenario import scenario


@scenario("no-multicast", namespaces=True)
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

    def multicast_again():
        view = cluster.wait_for_view(cluster.brokers)
        return view["transport"] == "multicast", f"{view['transport']} in view {view['view']}"

    cluster.wait_until(multicast_again, 20, "replication by multicast after the network was repaired")
    return (
        f"found by seeds, replicated by TCP with a warning, owner killed: write gap {gap:.0f} ms; "
        "multicast after the repair"
    )
