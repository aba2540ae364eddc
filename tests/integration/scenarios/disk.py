"""A disk that is full, and one whose bytes rot."""

import contextlib
import glob
import os

from checks import Stopwatch, check, check_equal
from client import Load, check_refused, compare_lines
from scenario import Need, scenario

SMALL_DISK = "48M"
SMALL_SEGMENTS = {"storage.segment_bytes": "256KiB", "limits.batch_bytes": "256KiB", "limits.record_bytes": "64KiB"}


@scenario("disk-full", Need.FILES)
def disk_full(run):
    """One broker's disk is full: writes to what it owns are refused with an error that says so, it stays up, the others
    go on, and once there is room it serves again."""
    cluster = run.cluster(3, **SMALL_SEGMENTS)
    victim = cluster.brokers[0]
    run.small_disk(victim.data, SMALL_DISK)
    cluster.start()
    mine, _ = cluster.topic_owned_by(lambda broker: broker is victim, prefix="mine")
    others, _ = cluster.topic_owned_by(lambda broker: broker is not victim, prefix="others")
    load = Load(cluster, mine, name="mine")
    load.reach(0.2)
    filler = os.path.join(victim.data, "filler")
    with contextlib.suppress(OSError), open(filler, "wb", buffering=0) as file:
        while file.write(bytes(1 << 16)):
            pass
    cluster.wait_until(lambda: victim.log_matches(r"DISK full"), 20, f"{victim} says that its disk is full")
    check(victim.status()["disk"]["full"], f"the status of {victim} does not say that its disk is full")
    refused = cluster.producer(mine, "--message", "x", "--timeout", 0)
    check_refused(refused, 10, r"disk of .* is full")
    cluster.producer(others, "--message", "goes on", "--count", 100).succeed(20)
    compare_lines(cluster.read(others), [b"goes on"] * 100, "a topic of another broker")
    os.remove(filler)
    watch = Stopwatch()
    gap = load.finish()
    cluster.wait_for_view(cluster.brokers, seconds=60)
    back = watch.seconds
    cluster.verify()
    return f"refused with the reason, others went on; longest wait {gap:.0f} ms, all well {back:.1f} s after there was room"


@scenario("disk-full-way-out", Need.FILES)
def disk_full_way_out(run):
    """On a disk that is full of records a group reads on and commits, a topic is deleted, and that makes room."""
    cluster = run.cluster(1, **SMALL_SEGMENTS)
    broker = cluster.brokers[0]
    run.small_disk(broker.data, SMALL_DISK)
    cluster.start()
    lines = run.numbered_lines(50)
    cluster.producer("small", "--file", run.write("small.in", lines)).succeed(20)
    full = cluster.producer("big", "--message", "x" * 1000, "--count", 100_000, "--timeout", 2000)
    check_refused(full, 60, r"disk of .* is full")
    check(broker.status()["disk"]["full"], "the status does not say that the disk is full")
    compare_lines(cluster.read("small", "--group", "g"), lines, "read by a group while the disk is full")
    check_equal(cluster.read("small", "--group", "g"), [], "read by the group again: it has committed")
    check_refused(cluster.producer("small", "--message", "x", "--timeout", 0), 10, r"disk of .* is full")
    cluster.ctl("topics", "delete", "big")
    cluster.wait_until(lambda: not broker.status()["disk"]["full"], 20, "there is room again")
    cluster.producer("small", "--message", "goes on").succeed(20)
    compare_lines(cluster.read("small", "--group", "g"), [b"goes on"], "what the group gets then")
    return "a full disk let a group read and commit and a topic be deleted, and there was room"


@scenario("bit-rot", Need.FILES)
def bit_rot(run):
    """Bits flip in a segment, an index and the state file of one broker: never served, repaired from another one."""
    cluster = run.cluster(3, **SMALL_SEGMENTS).start()
    topic = cluster.create_topic("rot")
    lines = run.numbered_lines(20_000)
    cluster.producer(topic, "--file", run.write("rot.in", lines)).succeed(30)
    victim = cluster.brokers[1]
    victim.stop()
    folder = next(path for path in glob.glob(f"{victim.data}/streams/*") if os.path.getsize(path) and len(
        glob.glob(f"{path}/*.log")) > 2)
    segments = sorted(glob.glob(f"{folder}/*.log"))
    for path in (segments[0], segments[len(segments) // 2], sorted(glob.glob(f"{folder}/*.index"))[0]):
        _flip(run, path)
    victim.start()
    cluster.wait_for_view(cluster.brokers)
    # Whoever is asked, the records are the right ones.
    for broker in cluster.brokers:
        compare_lines(cluster.read(topic, brokers=[broker]), lines, f"read by way of {broker}")
    cluster.start_ctl("verify").wait(60)  # reads everything, and so finds what is damaged
    cluster.wait_until(lambda: victim.log_matches("REPAIR"), 20, f"{victim} repairs")

    def agrees():
        verify = cluster.start_ctl("verify")
        return verify.wait(60) == 0, verify.output().decode()

    cluster.wait_until(agrees, 30, "all replicas agree after the repair")

    # A state that cannot be trusted makes it a new member.
    old = victim.id
    victim.stop()
    _flip(run, max(glob.glob(f"{victim.data}/state.*[0-9]"), key=lambda path: int(path.rsplit(".", 1)[1])))
    victim.start()
    cluster.wait_for_view(cluster.brokers)
    check(victim.status()["node"] != old, f"{victim} kept the id of a state that it cannot trust")
    check(victim.log_matches(r" [WE] .*state"), f"{victim} says nothing about its state file")
    compare_lines(cluster.read(topic), lines, "after all")
    cluster.verify()
    return "flipped bits in segments, index and state: never served, repaired from another broker"


def _flip(run, path):
    with open(path, "r+b") as file:
        size = os.path.getsize(path)
        at = run.random.randrange(size // 4, size)
        file.seek(at)
        byte = file.read(1)[0]
        file.seek(at)
        file.write(bytes([byte ^ 1 << run.random.randrange(8)]))
