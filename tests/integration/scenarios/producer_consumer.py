"""A real log through producers and consumers: as it is, by key, compressed, and shared by a group."""

import signal
from collections import defaultdict

from checks import check, check_equal
from client import compare_lines
from scenario import scenario

CODECS = ["none", "lz4", "zstd", "snappy", "gzip"]


@scenario("producer-consumer")
def producer_consumer(run):
    cluster = run.cluster(3).start()
    lines = run.log_lines()
    path = run.write("app.in", lines)
    _byte_for_byte(run, cluster, path)
    for codec in CODECS:
        cluster.producer(f"app-{codec}", "--file", path, "--compression", codec).succeed(30)
        compare_lines(cluster.read(f"app-{codec}"), lines, f"compressed by {codec}")
    keys = _keys(run, cluster)
    shares = _group(run, cluster)
    cluster.verify()
    return (
        f"{len(lines)} lines byte for byte, {len(CODECS)} codecs, {keys} keys each on one partition, "
        f"a group of two shared {shares[0]} + {shares[1]} records and resumed"
    )


def _byte_for_byte(run, cluster, path):
    with open(path, "rb") as file:
        content = file.read()
        file.seek(0)
        cluster.producer("app", stdin=path).succeed(30)
    process = cluster.consumer("app").succeed(30)
    check(process.output() == content, f"consumer's output, {process.stdout_path}, differs from the input, {path}")


def _keys(run, cluster):
    """Records of one key keep to one partition, and there to their order."""
    cluster.create_topic("keyed", partitions=4)
    lines = [b"key%d:%s" % (number % 23, line) for number, line in enumerate(run.numbered_lines(2000))]
    cluster.producer("keyed", "--file", run.write("keyed.in", lines), "--key-separator", ":").succeed(30)
    found, partitions = defaultdict(list), defaultdict(set)
    for line in cluster.read("keyed", "--format", "%p %k:%v"):
        partition, record = line.split(b" ", 1)
        key = record.split(b":")[0]
        found[key].append(record)
        partitions[key].add(partition)
    for key in {line.split(b":")[0] for line in lines}:
        check_equal(len(partitions[key]), 1, f"partitions that hold records of {key.decode()}")
        compare_lines(found[key], [line for line in lines if line.split(b":")[0] == key], f"records of {key.decode()}")
    check(len(set.union(*partitions.values())) > 1, "23 keys fell on one partition of four")
    return len(found)


def _group(run, cluster):
    """Two consumers of a group share the partitions; a later one goes on where they stopped."""
    cluster.create_topic("shared", partitions=4)
    flags = ["--group", "readers", "--follow", "--format", "%p %v"]
    pair = [cluster.consumer("shared", *flags) for _ in range(2)]
    cluster.wait_until(
        lambda: max(broker.status()["clients"]["group_members"] for broker in cluster.brokers) == 2,
        20,
        "both consumers are members of the group",
    )
    lines = run.numbered_lines(2000)
    cluster.producer("shared", "--file", run.write("shared.in", lines), "--rate", 800).succeed(60)

    def outputs():
        found = [consumer.lines() for consumer in pair]
        return sum(map(len, found)) >= len(lines) and found, f"{[len(each) for each in found]} records"

    found = cluster.wait_until(outputs, 20, f"the two have {len(lines)} records")
    for consumer in pair:
        consumer.send_signal(signal.SIGTERM)
    for consumer in pair:
        consumer.succeed(10)
    found = [consumer.lines() for consumer in pair]
    values = [line.split(b" ", 1)[1] for each in found for line in each]
    compare_lines(sorted(values), sorted(lines), "records that the group has read, sorted")
    last = [{line.split(b" ", 1)[0] for line in each[-200:]} for each in found]
    check(all(last) and not last[0] & last[1], f"at last the two read the partitions {last[0]} and {last[1]}")

    more = run.numbered_lines(300, "more ")
    cluster.producer("shared", "--file", run.write("more.in", more)).succeed(30)
    resumed = cluster.consumer("shared", *flags, "--count", len(more)).succeed(30)
    compare_lines(
        sorted(line.split(b" ", 1)[1] for line in resumed.lines()), sorted(more), "records after the resumption, sorted"
    )
    return [len(each) for each in found]
