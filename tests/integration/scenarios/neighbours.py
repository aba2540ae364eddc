"""Clusters of other names on the same network, the same ports and the same multicast group."""

from checks import check, check_equal
from client import Load
from scenario import Need, scenario


@scenario("other-name", Need.HOSTS)
def other_name(run):
    """Two clusters that hear every frame of each other: none is touched by the other, and what they drop is counted."""
    network = run.network(4)
    clusters = [
        run.cluster(2, network, name=name, first=first).start() for name, first in (("orders", 1), ("metrics", 3))
    ]
    views = [cluster.wait_for_view() for cluster in clusters]
    check(views[0]["cluster_id"] != views[1]["cluster_id"], "both clusters have one id")
    # The same topic name in both, found by broadcast.
    for cluster in clusters:
        cluster.create_topic("app")
    loads = [Load(cluster, "app", name=cluster.name, brokers=None) for cluster in clusters]
    gaps = [load.finish() for load in loads]
    dropped = 0
    for cluster, view in zip(clusters, views):
        check_equal(cluster.wait_for_view()["view"], view["view"], f"view of {cluster.name}")
        for broker in cluster.brokers:
            counted = broker.status()["network"]["datagrams_other_cluster"]
            check(counted > 0, f"{broker} of {cluster.name} counted no datagram of the other cluster")
            dropped += counted
        cluster.verify()
    return f"{dropped} datagrams of the other name dropped and counted, longest wait {max(gaps):.0f} ms, no view change"
