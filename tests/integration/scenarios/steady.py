"""A steady load without any fault: nothing grows, nobody is suspected, the view stays."""

import contextlib
import json
import os
from dataclasses import dataclass
from statistics import mean

from checks import Stopwatch, check
from scenario import Need, scenario

TOPICS = 8
RATE = 2000  # records per second, of all topics together
WINDOW_SECONDS = 4  # of one sample of latency
RECORD_BYTES = 400
SEGMENT_BYTES = 256 << 10
RETENTION_BYTES = 1 << 20
RETENTION_SECONDS = 10  # between two looks of a broker for segments to delete
# What is filled by design (segments that are kept, the cache) is full after seconds.
SETTINGS = {
    "storage.segment_bytes": SEGMENT_BYTES,
    "limits.batch_bytes": "256KiB",
    "limits.record_bytes": "16KiB",
    "limits.cache_bytes": "4MiB",
}
# How much more the last third may have than the first one: this machine has other things to do, too.
MEMORY_SLACK = 16 << 20
MEMORY_FACTOR = 1.1
DESCRIPTOR_SLACK = 4
LATENCY_FACTOR, LATENCY_SLACK_MS = 3, 20


@dataclass
class Sample:
    memory: list  # bytes, by broker
    descriptors: list  # but for segments, which come and go with retention
    p99_ms: float


@scenario("steady", Need.FILES, default=False)
def steady(run):
    cluster = run.cluster(3, **SETTINGS).start()
    topics = [f"steady-{number}" for number in range(TOPICS)]
    for topic in topics:
        cluster.ctl("topics", "create", topic, "--retention-bytes", RETENTION_BYTES)
    view = cluster.wait_for_view()["view"]
    limit = run.time_limit(60, 3600)
    loads = [_bench(cluster, topic, limit, "--consumers", 1) for topic in topics[:-1]]
    watch, samples = Stopwatch(), []
    while watch.seconds < limit:
        samples.append(_sample(cluster, topics[-1]))
        for load in loads:
            check(load.running or watch.seconds >= limit, f"{load.name} ended early: {load.last_words()}")
    told = [json.loads(load.succeed(60).output()) for load in loads]
    for load, figures in zip(loads, told):
        sent, read = figures["records_per_s"], figures["consumed_records_per_s"]
        check(sent > 0.95 * RATE / TOPICS and not figures["failed"], f"{load.name} sent {sent:.0f} records/s")
        check(read > 0.95 * sent, f"{load.name} sent {sent:.0f} records/s and read {read:.0f}")
    _check_flat(cluster, samples)
    changes = cluster.wait_for_view(cluster.brokers)["view"] - view
    check(changes == 0, f"{changes} view changes under a steady load")
    for broker in cluster.brokers:
        suspicions = broker.log_matches(r"PHI \w+ .*")
        check(not suspicions, f"{broker} suspects: {suspicions[:1]}")
    cluster.verify()
    rate = sum(figures["records_per_s"] for figures in told)
    disk = max(broker.status()["disk"]["bytes"] for broker in cluster.brokers)
    kept = TOPICS * (RETENTION_BYTES + SEGMENT_BYTES) + 2 * RETENTION_SECONDS * RATE * RECORD_BYTES
    check(disk <= kept, f"a broker keeps {disk >> 20} MiB, where retention leaves {kept >> 20} MiB at most")
    return f"{rate:.0f} records/s for {limit:.0f} s, {disk >> 20} MiB on a disk, {_compare(samples)}"


def _bench(cluster, topic, seconds, *flags):
    brokers = ",".join(broker.address for broker in cluster.brokers)
    words = [cluster.run.program("logstream-bench"), "--cluster", cluster.name, "--brokers", brokers, "--json"]
    words += ["--topic", topic, "--rate", RATE / TOPICS, "--record-bytes", RECORD_BYTES]
    words += ["--duration", seconds, "--warmup", 0, *flags]
    return cluster.run.start(cluster.client_place, words)


def _sample(cluster, topic):
    """The latency of one topic's records for some seconds, and what the brokers have then."""
    window = _bench(cluster, topic, WINDOW_SECONDS)
    cluster.wait_until(lambda: not window.running, WINDOW_SECONDS + 30, f"{window.name} ends")
    return Sample(
        [broker.resident_bytes() for broker in cluster.brokers],
        [_descriptors(broker) for broker in cluster.brokers],
        json.loads(window.succeed(1).output())["ack_us"]["p99"] / 1000,
    )


def _descriptors(broker):
    """How many are open, but for the files that its data folder holds; those that were deleted from there count."""
    count, folder = 0, f"/proc/{broker.pid}/fd"
    for name in os.listdir(folder):
        with contextlib.suppress(OSError):  # closed meanwhile
            path = os.readlink(os.path.join(folder, name))
            count += not (path.startswith(broker.data) and os.path.exists(path))
    return count


def _thirds(samples):
    """Of each figure the mean of the first and of the last third; of memory and descriptors for each broker."""
    third = max(1, len(samples) // 3)
    ends = samples[:third], samples[-third:]
    memory, descriptors = (
        [[mean(values) for values in zip(*(getattr(sample, field) for sample in end))] for end in ends]
        for field in ("memory", "descriptors")
    )
    return memory, descriptors, [mean(sample.p99_ms for sample in end) for end in ends]


def _check_flat(cluster, samples):
    memory, descriptors, latency = _thirds(samples)
    for broker, first, last in zip(cluster.brokers, *memory):
        check(
            last <= first * MEMORY_FACTOR + MEMORY_SLACK,
            f"the memory of {broker} grows from {first / 1e6:.1f} to {last / 1e6:.1f} MB",
        )
    for broker, first, last in zip(cluster.brokers, *descriptors):
        check(last <= first + DESCRIPTOR_SLACK, f"{broker} has {first:.0f}, then {last:.0f} descriptors open")
    check(
        latency[1] <= latency[0] * LATENCY_FACTOR + LATENCY_SLACK_MS,
        f"the p99 latency grows from {latency[0]:.1f} to {latency[1]:.1f} ms",
    )


def _compare(samples):
    memory, descriptors, latency = _thirds(samples)
    return (
        f"memory {max(memory[0]) / 1e6:.1f} → {max(memory[1]) / 1e6:.1f} MB, "
        f"descriptors {max(descriptors[0]):.0f} → {max(descriptors[1]):.0f}, "
        f"p99 {latency[0]:.1f} → {latency[1]:.1f} ms"
    )
