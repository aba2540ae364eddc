"""The flags of `logstream-bench`: what a short run says of itself, what it sends and what it leaves."""

import json
import os
import re
from collections import defaultdict

import wire
from capture import Capture
from checks import Stopwatch, check, check_equal
from client import check_refused
from scenarios.flags_producer import CODECS

SHORT = ["--duration", 0.4, "--warmup", 0.1]


def _start(cluster, *flags, brokers="all"):
    return cluster._client("logstream-bench", flags, None, brokers)


def _run(cluster, *flags, **where):
    """What --json tells of a run."""
    return json.loads(_start(cluster, "--json", *flags, **where).succeed(30).output())


class Sent:
    """What a run sent: its report, its PRODUCE requests, each with its batches, and how many were under way at once."""

    def __init__(self, cluster, *flags):
        capture = Capture(cluster.run, *cluster.network.tap(cluster.network.client))
        try:
            self.report = _run(cluster, *flags)
        finally:
            seen = [each for each in capture.stop() if each.type == "PRODUCE"]
        self.requests = [
            (each.source, each.content.parse(), wire.decode_batches(each.content.body))
            for each in seen
            if not each.content.is_response
        ]
        self.batches = [batch for _, _, batches in self.requests for batch in batches]
        self.most_under_way, waiting = 0, defaultdict(set)
        for each in seen:
            way = (each.target, each.source) if each.content.is_response else (each.source, each.target)
            if each.content.is_response:
                waiting[way].discard(each.content.correlation)
            else:
                waiting[way].add(each.content.correlation)
            self.most_under_way = max(self.most_under_way, len(waiting[way]))


def _topics(cluster):
    return {each["name"]: each for each in json.loads(cluster.ctl("topics", "--json"))["topics"]}


def check_flag_json(cluster):
    """The fields that scripts rely on, at the defaults; the topic made for the run is gone after it."""
    before = set(_topics(cluster))
    report = _run(cluster, *SHORT)
    check_equal(set(_topics(cluster)), before, "topics after a run")
    for field in ("records_per_s", "mb_per_s"):
        check(report[field] > 0, f"{field} is {report[field]}")
    check(0 < report["ack_us"]["p50"] <= report["ack_us"]["p99"] <= report["ack_us"]["max"], f"{report['ack_us']}")
    expected = {"record_bytes": 100, "replicas": 3, "acks": "quorum", "fsync": "group", "failed": 0, "producers": 1}
    expected |= {"consumers": 0, "consumed_records_per_s": 0, "compression": "none", "partitions": 1, "duration_s": 0.4}
    check_equal({field: report[field] for field in expected}, expected, "what the report says")
    text = _start(cluster, *SHORT, "--consumers", 1).succeed(30).output().decode()
    for line in (
        "1 producer, 1 consumer, 1 partition, 3 replicas, records of 100 bytes, acks quorum, fsync group, 0.4 s",
        r"produced  \d+ records/s, [\d.]+ MB/s; acknowledged after p50 .*",
        r"consumed  \d+ records/s, [\d.]+ MB/s; delivered after p50 .*",
    ):
        check(re.search(f"(?m)^{line}$", text), f"no line {line!r} in {text!r}")


def check_flag_compare(cluster):
    report = _run(cluster, *SHORT)
    old = cluster.run.write("old.json", [json.dumps({**report, "records_per_s": report["records_per_s"] * 2}).encode()])
    new = cluster.run.write("new.json", [json.dumps(report).encode()])
    told = json.loads(_start(cluster, "--compare", old, new, "--json", brokers=None).succeed(10).output())
    figures = {each["name"]: each for each in told["figures"]}
    check_equal((figures["records/s"]["ratio"], figures["MB/s"]["ratio"]), (0.5, 1.0), "ratios")
    check_equal(told["settings"], {}, "settings of two runs of one kind")
    again = _start(cluster, *SHORT, "--compare", old, "--record-bytes", 200).succeed(30)
    check(re.search(rb"records/s +[\d.]+ +[\d.]+ +[\d.]+\n", again.output()), f"it prints {again.output()!r}")
    check("differ in record_bytes: 100 before, 200 after" in again.errors(), f"it says {again.errors()!r}")
    nothing = cluster.run.write("nothing.json", [b"{}"])
    check_refused(_start(cluster, "--compare", nothing, new, brokers=None), 10, "is not a result of logstream-bench")


def check_flag_topic_partitions_record_bytes_rate(cluster):
    flags = ["--topic", "benched", "--partitions", 3, "--record-bytes", 250, "--rate", 500]
    report = _run(cluster, *flags, "--duration", 1, "--warmup", 0.2)
    check_equal(_topics(cluster)["benched"]["partitions"], 3, "partitions of the topic")
    check_equal((report["partitions"], report["record_bytes"]), (3, 250), "partitions and record_bytes")
    check(0 < report["records_per_s"] < 1000, f"{report['records_per_s']} records per second with --rate 500")
    check_equal(round(report["mb_per_s"] * 1e6 / report["records_per_s"]), 250, "bytes of a record by the report")
    values = b"\n".join(cluster.read("benched", "--format", "%o")).split()
    check(report["records_per_s"] <= len(values) < 3000, f"{len(values)} records after 1.2 s at 500 per second")


def check_flag_duration_and_warmup(cluster):
    """Both shorter and longer than the defaults, 10 s and 2 s."""
    watch = Stopwatch()
    ways = ((1.5, ["--duration", 1.5, "--warmup", 0]), (2.7, ["--duration", 0.1, "--warmup", 2.6]))
    for least, flags, process in [(least, flags, _start(cluster, "--json", *flags)) for least, flags in ways]:
        report = json.loads(process.succeed(30).output())
        check(least <= watch.seconds < 9, f"a run with {flags} takes {watch.seconds:.2f} s")
        check_equal(report["duration_s"], flags[1], "duration_s")


def check_flag_producers_and_consumers(cluster):
    """Consumers alone read what is there; one of two that read what comes reads all of it."""
    pace = ["--rate", 300, "--duration", 1, "--warmup", 0.1]
    sent = Sent(cluster, "--topic", "read", "--producers", 3, "--consumers", 2, *pace)
    check_equal(len({source for source, _, _ in sent.requests}), 3, "connections that send records")
    report = sent.report
    check_equal((report["producers"], report["consumers"]), (3, 2), "producers and consumers")
    check(
        report["consumed_records_per_s"] > 1.2 * report["records_per_s"],
        f"two consumers read {report['consumed_records_per_s']:.0f} of {report['records_per_s']:.0f} records/s",
    )
    check(report["deliver_us"]["max"] > 0, f"delivery took {report['deliver_us']}")
    report = _run(cluster, "--topic", "read", "--producers", 0, "--consumers", 1, "--duration", 1, "--warmup", 0)
    check_equal(report["records_per_s"], 0, "records per second of no producer")
    check(report["consumed_records_per_s"] > 50, f"a consumer reads {report['consumed_records_per_s']} records/s")


def check_flag_acks_and_compression_on_the_wire(cluster):
    for acks, number, codec in (("none", 1, "zstd"), ("owner", 2, "lz4"), ("all", 3, "gzip")):
        flags = ["--acks", acks, "--compression", codec, "--rate", 1000, "--linger", 50]
        sent = Sent(cluster, *flags, *SHORT)
        check_equal((sent.report["acks"], sent.report["compression"]), (acks, codec), "acks and compression")
        check_equal({request.acks for _, request, _ in sent.requests}, {number}, f"acks of the requests with {acks}")
        large = [batch for batch in sent.batches if batch.records > 10]  # compression makes the smallest larger
        check_equal({batch.codec for batch in large}, {CODECS[codec]}, f"codec of the batches with {codec}")


def check_flag_batches_on_the_wire(cluster):
    """What is under way: one record at a time, one batch at a time, small batches, batches that wait."""
    pace = ["--rate", 2000, *SHORT]
    burst = ["--rate", 20_000, *SHORT]  # several batches at each tick
    one = Sent(cluster, "--window", 1, "--linger", 0, *pace)
    check_equal({batch.records for batch in one.batches}, {1}, "records of a batch with --window 1")
    check_equal(one.most_under_way, 1, "requests under way with --window 1")
    small = Sent(cluster, "--batch-bytes", 400, *burst)
    check(max(batch.size for batch in small.batches) < 700, "batches are larger than with --batch-bytes 400")
    check(small.most_under_way > 1, "with batches of 400 bytes there is never more than one request under way")
    single = Sent(cluster, "--in-flight", 1, "--batch-bytes", 400, *burst)
    check_equal(single.most_under_way, 1, "requests under way with --in-flight 1")
    waiting = Sent(cluster, "--linger", 150, *pace)
    check(len(waiting.batches) <= 15, f"{len(waiting.batches)} batches in 0.5 s with --linger 150")
    check(max(batch.size for batch in waiting.batches) > 10_000, "batches of --linger 150 are small")


def check_flag_topics_and_active(cluster):
    report = _run(cluster, "--topic", "several", "--topics", 4, "--active", 2, "--rate", 1000, *SHORT)
    check_equal(report["topics"], 4, "topics by the report")
    names = {f"several-{i}" for i in range(4)}
    check_equal(names & set(_topics(cluster)), names, "topics that were made")
    check_equal({name for name in names if cluster.read(name)}, {"several-0", "several-1"}, "topics with records")


def check_flag_limits_network_dir_of_netns(cluster):
    """What this machine could do, between the hosts of this network; nothing stays on the disk."""
    place = os.path.join(cluster.run.folder, "limits")
    os.mkdir(place)
    flags = ["--limits", "--json", "--network", cluster.network.name, "--dir", place]
    figures = json.loads(_start(cluster, *flags, brokers=None).succeed(60).output())
    for name in ("multicast_mb_per_s", "tcp_mb_per_s", "three_writers_mb_per_s", "memcpy_gb_per_s"):
        check(figures[name] > 0, f"{name} is {figures[name]}")
    check_equal(os.listdir(place), [], "what stays in the folder")
    nowhere = _start(cluster, "--limits", "--network", "nowhere", brokers=None)
    check_equal(nowhere.wait(10), 1, "exit code with a network that is not there")
    check("nowhere" in nowhere.errors(), f"the network is not named in {nowhere.errors()!r}")


def check_flag_help_and_wrong_usage(cluster):
    said = _start(cluster, "--help", brokers=None).succeed(10).output().decode()
    flags = "topic partitions producers consumers record-bytes acks in-flight window batch-bytes linger compression"
    flags += " rate duration warmup json compare brokers cluster topics active limits network dir"
    for flag in flags.split():
        check(f"--{flag} " in said, f"logstream-bench --help does not tell of --{flag}")
    for flags in (
        ["--nonsense"],
        ["--record-bytes", "7"],
        ["--acks", "some"],
        ["--acks", "2"],
        ["--rate", "nan"],
        ["--topic", ""],
        ["--compression", "zip"],
        ["--in-flight", "6"],
        ["--duration", "0"],
        ["--producers", "257"],
        ["--partitions", "0"],
        ["--topics", "0"],
        ["--network", "without-limits"],
        ["--dir", "/"],
    ):
        process = _start(cluster, *flags)
        check_equal((process.wait(10), process.output()), (2, b""), f"exit code and stdout of {' '.join(flags)}")
        check(flags[0] in process.errors(), f"{flags[0]} is not named in {process.errors()!r}")
