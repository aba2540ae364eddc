"""A member whose disk can't keep up is put out of the view, so that it holds up the others no longer, and comes back."""

import json
from statistics import median

from checks import Stopwatch, check, check_equal
from client import Load
from faults import FaultyDisk
from scenario import scenario

PATIENCE_SECONDS = 1
FLUSH_US = 1_500_000  # longer than the others' patience
KEPT = 0.8  # of the throughput that all three had
MEASUREMENTS = 3  # the median counts: this machine may be busy
REMOVED = r"VIEW member=\w+ is removed: it stays behind"


@scenario("slow-disk")
def slow_disk(run):
    cluster = run.cluster(3, **{"replication.slow_member_timeout": f"{PATIENCE_SECONDS}s"})
    disks = {broker: FaultyDisk(broker) for broker in cluster.brokers}
    cluster.start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is leader)
    victim = run.random.choice([broker for broker in cluster.brokers if broker is not owner])
    disk = disks[victim].control
    load = Load(cluster, cluster.create_topic("load"), seconds=2 * run.load_seconds())
    before = median(_measure(cluster, topic, 0.8)["records_per_s"] for _ in range(MEASUREMENTS))

    disk.flush_delay_us, disk.flushes = FLUSH_US, 0
    # More than the window holds: it stands still until the slow member is out.
    wait_ms = _measure(cluster, topic, 2.5, warmup=0)["ack_us"]["max"] / 1000
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not victim])
    check(wait_ms > PATIENCE_SECONDS * 500, f"{victim}, a flush of {FLUSH_US} us, held up nobody: {wait_ms:.0f} ms")
    check(wait_ms < PATIENCE_SECONDS * 1000 + 2000, f"{victim} held up the others for {wait_ms:.0f} ms")
    after = median(_measure(cluster, topic, 0.8)["records_per_s"] for _ in range(MEASUREMENTS))
    check(after >= KEPT * before, f"{after:.0f} records/s without {victim}, {before:.0f} with it while it was well")
    check(disk.flushes > 0, f"{victim} flushed nothing while its disk was slow")
    check_equal(len(leader.log_matches(REMOVED)), 1, f"times that {victim} was removed while its disk was slow")

    disk.flush_delay_us = 0
    watch = Stopwatch()
    cluster.wait_for_view(cluster.brokers)
    back = watch.seconds
    load.finish()
    cluster.verify()
    return (
        f"flushes of {FLUSH_US / 1e6} s of one member held up the others for {wait_ms:.0f} ms; then {after:.0f} records/s, "
        f"before it {before:.0f}; back as a member {back:.2f} s after its disk was well"
    )


def _measure(cluster, topic, seconds, warmup=0.3):
    """What a benchmark says, as fast as it goes."""
    flags = ["--duration", seconds, "--warmup", warmup, "--record-bytes", 1000, "--json"]
    return json.loads(cluster.bench(topic, *flags).succeed(30).output())
