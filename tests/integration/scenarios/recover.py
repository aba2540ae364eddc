"""Most brokers are gone for good: a new lineage from those that are left."""

import glob
import json

from checks import check, check_equal
from client import check_refused, compare_lines
from scenario import Need, scenario


@scenario("recover")
def recover(run):
    cluster = run.cluster(5).start()
    lines = run.numbered_lines(2000)
    topic = cluster.create_topic("recover")
    cluster.producer(topic, "--file", run.write("recover.in", lines)).succeed(30)
    lost, left = cluster.brokers[:3], cluster.brokers[3:]
    old = left[0].status()["cluster_id"]
    check_refused(cluster.start_ctl("recover", left[0].address, "--yes"), 15, "working view")

    for broker in lost:
        broker.signal_kill()
    cluster.wait_until(
        lambda: all(not broker.status()["quorum"] for broker in left), 20, "the two that are left lack a quorum"
    )
    addresses = [broker.address for broker in left]
    asked = cluster.start_ctl("recover", *addresses)
    asked.wait(15)
    check_equal(asked.code, 2, "exit code of a recover that cannot ask")
    told = json.loads(cluster.ctl("recover", *addresses, "--yes", "--json"))
    check_equal(told["done"], "recover", "recover --json")
    cluster.wait_for_view(left)
    new = {broker.status()["cluster_id"] for broker in left}
    check(len(new) == 1 and old not in new, f"lineages after the recovery of {old}: {new}")
    compare_lines(cluster.read(topic, brokers=left), lines, "what was acknowledged before")
    cluster.producer(topic, "--message", "after", brokers=left).succeed(20)

    # One of the lost comes back after all: it has records of the old lineage, so it stays apart and says so.
    back = lost[0]
    back.start()
    back.process.wait_for_words("stay separate|another lineage", 20)
    compare_lines(cluster.read(topic, brokers=left), [*lines, b"after"], "the new lineage beside one of the old")
    check(not back.status()["quorum"], f"{back} serves: {back.status()}")
    return f"two of five went on as a new lineage with all {len(lines)} records; a third that came back stays apart"


@scenario("recover-merge")
def recover_merge(run):
    """Those that were given up come back and go on, too: a merge appends only what the new lineage does not have."""
    cluster = run.cluster(3).start()
    shared = run.numbered_lines(1200, "shared ")
    topic = cluster.create_topic("history", partitions=2)
    cluster.producer(topic, "--file", run.write("shared.in", shared)).succeed(30)
    lost, left = cluster.brokers[:2], cluster.brokers[2:]
    for broker in lost:  # at once: one after the other they would be a view of two, then of one
        broker.signal_kill()
    cluster.wait_until(lambda: not left[0].status()["quorum"], 20, "the one that is left lacks a quorum")
    cluster.ctl("recover", left[0].address, "--yes")
    cluster.wait_for_view(left)
    ours, theirs = run.numbered_lines(50, "ours "), run.numbered_lines(30, "theirs ")
    cluster.producer(topic, "--file", run.write("ours.in", ours), brokers=left).succeed(20)
    for broker in lost:
        broker.start()
    cluster.wait_for_view(lost)
    cluster.producer(topic, "--file", run.write("theirs.in", theirs), brokers=lost).succeed(20)
    merge = cluster.start_ctl("merge", "--from", lost[0].address, "--json", brokers=left)
    told = json.loads(merge.succeed(60).output())
    check_equal((told["records"], told["shared_offsets"]), (len(theirs), len(shared)), "merge --json")
    cluster.wait_for_view(cluster.brokers)
    check_equal(sorted(cluster.read(topic)), sorted([*shared, *ours, *theirs]), "records of both, each once")
    cluster.verify()
    return f"{len(shared)} records that both lineages had stayed {len(shared)}; {len(theirs)} were appended"


@scenario("recover-damaged", Need.FILES)
def recover_damaged(run):
    """The only broker, killed, finds the end of a log damaged: it gives nothing up by itself; recover gives up the end."""
    cluster = run.cluster(1).start()
    broker = cluster.brokers[0]
    topic = cluster.create_topic("damaged")
    lines = run.numbered_lines(1000)
    last = b"the last one"
    cluster.producer(topic, "--file", run.write("damaged.in", lines)).succeed(20)
    cluster.producer(topic, "--message", last.decode()).succeed(20)
    broker.kill()
    for path in glob.glob(f"{broker.data}/streams/*/*.log"):
        with open(path, "r+b") as file:
            content = file.read()
            at = content.rfind(last)
            if at >= 0:
                file.seek(at)
                file.write(bytes([content[at] ^ 1]))
    broker.start()
    broker.process.wait_for_words("VIEW failed .* is damaged at .* from offset 1000 on, and nobody in reach holds", 20)
    check_refused(cluster.producer(topic, "--message", "x", "--timeout", 0), 20, "nobody in reach holds")
    cluster.ctl("recover", broker.address, "--yes")
    cluster.wait_for_view([broker])
    compare_lines(cluster.read(topic), lines, "what is whole")
    cluster.producer(topic, "--message", "after").succeed(20)
    compare_lines(cluster.read(topic), [*lines, b"after"], "the new lineage")
    return "waited with a damaged end; the recovery kept the 1,000 records before it"
