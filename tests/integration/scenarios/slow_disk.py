"""A member whose disk can't keep up is put out of the view, so that it holds up the others no more, and comes back."""

import json
from statistics import median

from checks import Stopwatch, check, check_equal
from client import Load
from faults import FaultyDisk
from scenario import Need, scenario

PATIENCE_SECONDS = 1
FLUSH_US = 100_000  # shorter than the others' patience: it acknowledges again and again, and sets the pace
KEPT = 0.6  # of the throughput that all three had; looser than what is promised (0.8): this machine may be busy
MEASUREMENTS = 3  # of each throughput; the median counts
REMOVED = r"VIEW member=\w+ is removed: it stays behind"


@scenario("slow-disk", Need.FILES)
def slow_disk(run):
    cluster = run.cluster(3, **{"replication.slow_member_timeout": f"{PATIENCE_SECONDS}s"})
    disks = {broker: FaultyDisk(broker) for broker in cluster.brokers}
    cluster.start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is leader)
    victim = run.random.choice([broker for broker in cluster.brokers if broker is not owner])
    disk = disks[victim].control
    load = Load(cluster, cluster.create_topic("load"), seconds=2 * run.load_seconds())
    before = _throughput(cluster, topic)

    disk.flush_delay_us, disk.flushes = FLUSH_US, 0
    # More than the window holds: it stands still until the slow member is out.
    wait_ms = _measure(cluster, topic, 2.5, warmup=0)["ack_us"]["max"] / 1000
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not victim])
    check(wait_ms > FLUSH_US / 1000, f"{victim}, a flush of {FLUSH_US} us, held up nobody: {wait_ms:.0f} ms")
    check(wait_ms < PATIENCE_SECONDS * 1000 + 2000, f"{victim} held up the others for {wait_ms:.0f} ms")
    without = _throughput(cluster, topic)
    check(disk.flushes > 0, f"{victim} flushed nothing while its disk was slow")
    check_equal(len(leader.log_matches(REMOVED)), 1, f"times that {victim} was removed while its disk was slow")

    disk.flush_delay_us = 0
    watch = Stopwatch()
    cluster.wait_for_view(cluster.brokers)
    back = watch.seconds
    # Both sides are compared, since this machine's other work comes and goes.
    after = _throughput(cluster, topic)
    check(
        without >= KEPT * min(before, after),
        f"{without:.0f} records/s without {victim}; with it and well {before:.0f} before, {after:.0f} after",
    )
    load.finish()
    cluster.verify()
    return (
        f"flushes of {FLUSH_US / 1e6} s of one member held up the others for {wait_ms:.0f} ms; {before:.0f} records/s "
        f"before, {without:.0f} without it, {after:.0f} after; back as a member {back:.2f} s after its disk was well"
    )


def _throughput(cluster, topic):
    return median(_measure(cluster, topic, 0.7)["records_per_s"] for _ in range(MEASUREMENTS))


def _measure(cluster, topic, seconds, warmup=0.2):
    """What a benchmark says, as fast as it goes."""
    flags = ["--duration", seconds, "--warmup", warmup, "--record-bytes", 1000, "--json"]
    return json.loads(cluster.bench(topic, *flags).succeed(30).output())
