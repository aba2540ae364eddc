"""A trace of system calls shows a completed flush on a majority of the brokers before each acknowledgement."""

import re

from capture import Capture
from checks import check, check_equal
from scenario import Need, scenario

RECORDS = 20
FLUSHES = "fdatasync,fsync,syncfs"
# "1234 1700000000.123456 fdatasync(7) = 0 <0.000321>"; a call during which another thread spoke comes in two lines.
WHOLE = re.compile(r"^(\d+) +([\d.]+) (?:\w+)\(\d+\) += 0 <([\d.]+)>$")
BEGUN = re.compile(r"^(\d+) +([\d.]+) (?:\w+)\(\d+ <unfinished \.\.\.>$")
RESUMED = re.compile(r"^(\d+) +([\d.]+) <\.\.\. \w+ resumed>.*= 0 <([\d.]+)>$")


@scenario("flush-before-ack", Need.HOSTS, Need.PACKETS, Need.FILES)
def flush_before_ack(run):
    cluster = run.cluster(3).start()
    topic = cluster.create_topic("app")
    owner = cluster.owner(topic)
    traces = [
        run.start(
            broker.place.tools(),
            [
                "strace",
                "-f",
                "-ttt",
                "-T",
                "-o",
                f"{run.folder}/{broker.name}.strace",
                "-e",
                f"trace={FLUSHES}",
                "-p",
                str(broker.pid),
            ],
            name=f"strace-{broker.name}",
        )
        for broker in cluster.brokers
    ]
    for trace in traces:
        trace.wait_for_words(r"attached", 10)
    network = cluster.network
    capture = Capture(run, *network.tap(network.client))
    # One at a time: each is acknowledged long before the next is sent.
    cluster.producer(topic, "--message", "flushed", "--count", RECORDS, "--interval", 100).succeed(60)
    seen = capture.stop()
    for trace in traces:
        trace.send_signal(2)
        trace.wait(10)

    address = (owner.place.ip, owner.place.port)
    produced = {
        (each.source, each.content.correlation): each.time
        for each in seen
        if each.type == "PRODUCE" and not each.content.is_response and each.target == address
    }
    answered = {
        (each.target, each.content.correlation): each.time
        for each in seen
        if each.type == "PRODUCE" and each.content.is_response and each.source == address
    }
    check_equal(len(produced), RECORDS, "PRODUCE requests that the capture shows")
    flushes = [_flushes(f"{run.folder}/{broker.name}.strace") for broker in cluster.brokers]
    counts = []
    for number, (key, sent) in enumerate(sorted(produced.items(), key=lambda item: item[1])):
        check(key in answered, f"the capture shows no answer to PRODUCE {number}")
        within = [sum(1 for begin, end in broker if sent <= begin and end <= answered[key]) for broker in flushes]
        counts.append(sum(1 for count in within if count))
        check(
            counts[-1] >= 2,
            f"record {number}: between PRODUCE and its acknowledgement, {(answered[key] - sent) * 1000:.1f} ms, "
            f"the brokers completed {within} flushes, {owner} is the owner",
        )
    return (
        f"{RECORDS} records, each flushed on {min(counts)} or more of 3 brokers between PRODUCE and its acknowledgement"
    )


def _flushes(path):
    """(begin, end) of each successful flush."""
    found, begun = [], {}
    with open(path, encoding="utf-8") as file:
        for line in map(str.rstrip, file):
            if whole := WHOLE.match(line):
                found.append((float(whole[2]), float(whole[2]) + float(whole[3])))
            elif unfinished := BEGUN.match(line):
                begun[unfinished[1]] = float(unfinished[2])
            elif (resumed := RESUMED.match(line)) and resumed[1] in begun:
                start = begun.pop(resumed[1])
                found.append((start, start + float(resumed[3])))
    return found
