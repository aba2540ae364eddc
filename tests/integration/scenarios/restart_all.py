"""kill -9 of all brokers at once in the middle of a load: what was acknowledged is there after the start."""

import glob
import os

from checks import Stopwatch, check, check_equal
from client import Load, compare_lines
from scenario import scenario


@scenario("restart-all")
def restart_all(run):
    cluster = run.cluster(3).start()
    for topic in ("patient", "impatient"):
        cluster.create_topic(topic)
    patient = Load(cluster, "patient")
    # This one gives up during the outage: what it calls failed may or may not be there, all else has to be.
    lines = run.numbered_lines(len(patient.lines), "impatient ")
    failed_path = os.path.join(run.folder, "failed")
    impatient = cluster.producer(
        "impatient",
        "--file",
        run.write("impatient.in", lines),
        "--rate",
        Load.RATE,
        "--timeout",
        300,
        "--failed",
        failed_path,
    )
    moment = patient.reach_random_moment()
    for broker in cluster.brokers:
        broker.signal_kill()
    for broker in cluster.brokers:
        broker.process.wait(10)
    # All are down until the impatient one has given up on something. What it gave up on stands in a draft of the file
    # until it ends.
    cluster.wait_until(
        lambda: any(os.path.getsize(draft) > 0 for draft in glob.glob(failed_path + "*")) or not impatient.running,
        20,
        "the producer with a short patience gives up",
    )
    watch = Stopwatch()
    for broker in cluster.brokers:
        broker.start()
    cluster.wait_for_view()
    back = watch.seconds
    gap = patient.finish()

    impatient.wait(60)
    with open(failed_path, "rb") as file:
        failed = file.read().split(b"\n")[:-1]
    acknowledged = [line for line in lines if line not in set(failed)]
    check_equal(impatient.records, len(acknowledged), "records that the impatient producer counts as acknowledged")
    check(failed, "the impatient producer gave up on nothing: the outage was too short to test it")
    found = cluster.read("impatient")
    check_equal(len(found), len(set(found)), "records of the impatient producer, each counted once")
    kept = set(acknowledged)
    compare_lines(
        [line for line in found if line in kept], acknowledged, "acknowledged records of the impatient producer"
    )
    check(set(found) <= set(lines), "foreign records in the impatient producer's topic")
    cluster.verify()
    return (
        f"killed at {moment:.0%}, one view {back:.2f} s after the start, write gap {gap:.0f} ms with the outage; "
        f"{len(acknowledged)} acknowledged records of a producer that gave up on {len(failed)} are there"
    )
