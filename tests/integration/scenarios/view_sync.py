"""A member that lags when the owner dies ends with the same records as the other: it fetches what it lacks."""

from checks import check, check_equal
from client import compare_lines
from scenario import Need, scenario

# The type byte of a frame (internal/protocol/frame.h) is byte 5 of the datagram, 13 bytes into the UDP header and it.
REPLICATE_FRAMES = "udp dport 9999 @th,104,8 4"


@scenario("view-sync", Need.HOSTS)
def view_sync(run):
    cluster = run.cluster(3, **{"replication.slow_member_timeout": "60s"}).start()
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    laggard, other = (broker for broker in cluster.brokers if broker is not owner)
    first, second = run.numbered_lines(500, "first "), run.numbered_lines(1500, "second ")
    cluster.producer(topic, "--file", run.write("first.in", first)).succeed(30)
    # Heartbeats pass, so that it stays a member; frames of records don't, nor when they are sent again.
    cluster.network.lose(laggard.number, REPLICATE_FRAMES)
    cluster.producer(topic, "--file", run.write("second.in", second)).succeed(30)

    def behind():
        lags = {member["name"]: member["lag_records"] for member in owner.status()["members"]}
        return lags[laggard.name] >= len(second) and not lags[other.name], f"lags {lags}"

    cluster.wait_until(behind, 10, f"{laggard} lags by {len(second)} records and {other} does not")
    owner.kill()
    cluster.wait_for_view([laggard, other])
    cluster.network.heal()
    merged = [int(bytes_) for bytes_ in laggard.log_matches(r"VIEW merge view=\d+ fetched_bytes=(\d+)")]
    check(merged and merged[-1] > 0, f"{laggard} logs no VIEW merge with fetched bytes: {merged}")
    for broker in (laggard, other):
        compare_lines(cluster.read(topic, at=broker.place), first + second, f"read from {broker}'s host")
    cluster.verify()
    check_equal(len(laggard.log_matches("ORPHAN kept")), 0, "orphans at the laggard")
    owner.start()
    cluster.wait_for_view(cluster.brokers)
    cluster.verify()
    return f"{laggard} lacked {len(second)} records when {owner} died, fetched {merged[-1]} bytes in the view change"
