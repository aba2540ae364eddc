"""logstreamctl: what scripts rely on, and steering a cluster."""

import json

from checks import check, check_equal
from client import check_refused
from scenario import Need, scenario


@scenario("ctl")
def ctl(run):
    cluster = run.cluster(3).start()
    _status(cluster)
    _topics(cluster)
    _records(cluster)
    if run.has(Need.HOSTS):
        _pages(cluster)
    cluster.verify()
    _steering(cluster)
    _without_quorum(cluster)
    return "status, topics, ring, append, query, verify, elect, remove, drain; admin pages; status without quorum"


def _json(cluster, *words, **where):
    return json.loads(cluster.ctl(*words, "--json", **where))


def _status(cluster):
    status = _json(cluster, "status")
    check_equal(sorted(member["name"] for member in status["members"]), ["n1", "n2", "n3"], "members")
    check_equal(sorted(member["role"] for member in status["members"]), ["follower", "follower", "leader"], "roles")
    check_equal(
        {member["address"] for member in status["members"]}, {broker.address for broker in cluster.brokers}, "addresses"
    )
    check_equal(
        (status["cluster"], status["quorum"], status["leader"]),
        (cluster.name, True, cluster.leader().id),
        "cluster, quorum, leader",
    )
    for member in status["members"]:
        check(
            isinstance(member["phi"], (int, float)) and member["lag_records"] >= 0 and len(member["id"]) == 16,
            f"member {member}",
        )
    check("n1" in cluster.ctl("status"), "status for people does not name n1")


def _topics(cluster):
    cluster.ctl("topics", "create", "orders", "--partitions", 3)
    check_refused(cluster.start_ctl("topics", "create", "orders"), 15, "exists")
    # Any broker may be asked; it knows what is committed a heartbeat later at the latest.
    cluster.wait_until(lambda: "orders" in cluster.ctl("topics", "list"), 5, "topics list names orders")
    check("orders" in cluster.ctl("topics", "describe", "orders"), "topics describe does not name orders")
    ring = _json(cluster, "ring", "orders")
    check_equal(
        (ring["topic"], [each["partition"] for each in ring["partitions"]]),
        ("orders", [0, 1, 2]),
        "topic and partitions",
    )
    check_equal(ring["owner"], ring["partitions"][0]["owner"], "owner of the first partition")
    for each in ring["partitions"]:
        check_equal(
            each["owner"], cluster.owner("orders", each["partition"]).id, f"owner of partition {each['partition']}"
        )
        check_equal(set(each["replicas"]), {broker.id for broker in cluster.brokers}, "replicas")
    cluster.ctl("topics", "delete", "orders")
    cluster.wait_until(lambda: "orders" not in cluster.ctl("topics", "list"), 5, "topics list forgets what was deleted")
    check_refused(cluster.start_ctl("ring", "orders"), 15, "orders")


def _records(cluster):
    for text in ("one", "two"):
        cluster.ctl("append", "-t", "app", "-c", text)
    view = cluster.wait_for_view()["view"]
    found = [json.loads(line) for line in cluster.ctl("query", "-t", "app", "--json").splitlines()]
    check_equal(
        [(each["offset"], each["view"], each["committed"], each["key"], each["value"]) for each in found],
        [(0, view, True, None, "one"), (1, view, True, None, "two")],
        "query: offset, view, committed, key, value",
    )
    check_equal(cluster.read("app"), [b"one", b"two"], "what a consumer reads of it")


def _pages(cluster):
    """The admin pages of a broker, on their default port."""
    broker = cluster.brokers[0]

    def get(path):
        with cluster.client_place.connect((broker.place.ip, broker.place.port + 1000), 5) as connection:
            connection.sendall(f"GET {path} HTTP/1.0\r\n\r\n".encode())
            head, _, body = b"".join(iter(lambda: connection.recv(1 << 16), b"")).partition(b"\r\n\r\n")
        check(b" 200 " in head.splitlines()[0], f"GET {path}: {head.splitlines()[0]}")
        return body.decode()

    check_equal(json.loads(get("/status"))["node"], broker.id, "node that /status names")
    check("logstream_members 3" in get("/metrics"), "/metrics tells of no 3 members")
    check("<html" in get("/").lower(), "/ is no page")


def _steering(cluster):
    leader = cluster.leader()
    removed, drained = (broker for broker in cluster.brokers if broker is not leader)
    for command, victim in (("drain", drained), ("remove", removed)):
        cluster.ctl(command, victim.name)
        cluster.wait_for_view([broker for broker in cluster.brokers if broker is not victim])
        victim.stop()
        victim.start()
        cluster.wait_for_view(cluster.brokers)
    view = cluster.wait_for_view()["view"]
    cluster.ctl("elect")
    cluster.wait_until(
        lambda: cluster.wait_for_view()["view"] > view, 20, "an election that was asked for gives a new view"
    )


def _without_quorum(cluster):
    left, *others = cluster.brokers
    for broker in others:
        broker.signal_kill()

    def alone():
        status = _json(cluster, "status", brokers=[left])
        return not status["quorum"], f"{status}"

    cluster.wait_until(alone, 20, "the only one left says that it has no quorum")
