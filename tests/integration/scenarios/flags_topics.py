"""What `logstreamctl` shows and changes of topics: topics, tail, top, and what it tells shells."""

import json
import subprocess
import time

from checks import check, check_equal
from client import check_refused
from scenarios.flags_ctl import _json, _rows, _wrong
from scenarios.flags_producer import _on_a_terminal


def check_flag_topics_create(cluster):
    flags = ["--partitions", 3, "--retention-ms", 5_000, "--retention-bytes", -1]
    made = _json(cluster, "topics", "create", "full", *flags)
    check_equal(made, {"created": "full"}, "topics create --json")
    check_equal(cluster.ctl("topics", "create", "plain"), "created plain\n", "topics create")
    cluster.ctl("topics", "create", "latest", "--compact")
    found = {each["name"]: each for each in _json(cluster, "topics", "list")["topics"]}
    fields = ("partitions", "retention_ms", "retention_bytes", "compact")
    check_equal([found["full"][field] for field in fields], [3, 5000, -1, False], "a topic made with flags")
    check_equal([found["plain"][field] for field in fields], [1, 0, 0, False], "a topic made without")
    check_equal([found["latest"][field] for field in fields], [1, 0, 0, True], "a topic made with --compact")
    cluster.ctl("topics", "create", "units", "--retention-ms", "7d", "--retention-bytes", "512MiB")
    rows = _rows(cluster.ctl("topics", "list"))
    check(["units", "1", "0", "0", "B", "0", "-", "7d", "512MiB", "no"] in rows, f"topics list shows {rows}")
    check_refused(cluster.start_ctl("topics", "describe", "plian"), 10, "there is no topic 'plian'; did you mean 'plain'")
    _wrong(cluster, "topics", "create", "x", "--retention-ms", "soon", pattern="a time like 7d")
    check_refused(cluster.start_ctl("topics", "create", "plain"), 10, "plain")
    check_refused(cluster.start_ctl("topics", "create", "a/b"), 10, "a/b")
    _wrong(cluster, "topics", "create", "x", "--partitions", "0", pattern="--partitions")
    many = cluster.start_ctl("topics", "create", "x", "--partitions", 4_000_000)
    check_refused(many, 5, "cannot create 4000000 partitions")  # at once: it would be so at any time
    _wrong(cluster, "topics", "create", pattern="name")


def check_flag_topics_list_and_delete(cluster):
    for name in ("one", "two"):
        cluster.create_topic(name)
    for words in (("topics",), ("topics", "list")):
        check({("one", "1"), ("two", "1")} <= {tuple(row[:2]) for row in _rows(cluster.ctl(*words))}, f"{words}")
    check_equal(cluster.ctl("topics", "delete", "one"), "deleted one\n", "topics delete")
    check_equal(_json(cluster, "topics", "delete", "two"), {"deleted": "two"}, "topics delete --json")
    left = [each["name"] for each in _json(cluster, "topics")["topics"]]
    check("one" not in left and "two" not in left, f"topics after they were deleted: {left}")
    check_refused(cluster.start_ctl("topics", "delete", "one"), 10, "no topic 'one'")


def check_flag_topics_describe(cluster):
    topic = cluster.create_topic("described", partitions=2)
    cluster.producer(topic, "--message", "x", "--count", 5, "--partition", 1).succeed(20)
    told = _json(cluster, "topics", "describe", topic)
    check_equal(
        [(each["partition"], each["log_start"], each["high_watermark"]) for each in told["streams"]],
        [(0, 0, 0), (1, 0, 5)],
        "partition, log start and high watermark",
    )
    owners = [cluster.owner(topic, number) for number in (0, 1)]
    check_equal([each["owner"] for each in told["streams"]], [owner.id for owner in owners], "owners")
    rows = _rows(cluster.ctl("topics", "describe", topic))
    check_equal(rows[-2:], [["0", owners[0].name, "0", "0"], ["1", owners[1].name, "0", "5"]], "topics describe")
    check_refused(cluster.start_ctl("topics", "describe", "nothing"), 10, "nothing")


def check_flag_topics_alter(cluster):
    topic = cluster.create_topic("altered", partitions=2)
    told = cluster.ctl("topics", "alter", topic, "--retention-ms", "36h", "--retention-bytes", "1GiB")
    check_equal(told, "altered altered: retention 36h, size limit 1GiB, compacted no\n", "topics alter")
    told = _json(cluster, "topics", "alter", topic, "--retention-bytes", "default", "--compact")
    fields = ("partitions", "retention_ms", "retention_bytes", "compact")
    check_equal([told[field] for field in fields], [2, 36 * 3600 * 1000, 0, True], "topics alter --json")
    for broker in cluster.brokers:
        found = {each["name"]: each for each in _json(cluster, "topics", "list", brokers=[broker])["topics"]}[topic]
        check_equal([found[field] for field in fields], [told[field] for field in fields], f"as {broker.name} has it")
    check_refused(cluster.start_ctl("topics", "alter", "altred", "--compact"), 10, "did you mean 'altered'")
    _wrong(cluster, "topics", "alter", topic, pattern="--retention-ms, --retention-bytes or --compact")
    _wrong(cluster, "topics", "alter", topic, "--retention-ms", "soon", pattern="or default")


def check_flag_topics_figures(cluster):
    topic = cluster.create_topic("figures", partitions=3)
    before = _json(cluster, "topics", "describe", topic)
    check_equal((before["records"], before["last_write_ms"]), (0, None), "records and last write of a new topic")
    cluster.producer(topic, "--message", "x" * 100, "--count", 60, "--partitioner", "turn").succeed(20)
    told = _json(cluster, "topics", "describe", topic)
    check_equal(told["records"], 60, "records of all partitions")
    check(told["bytes"] > 6000, f"60 records of 100 bytes take {told['bytes']} bytes")
    check(abs(told["last_write_ms"] / 1000 - time.time()) < 60, f"the last write was at {told['last_write_ms']}")
    cluster.wait_until(
        lambda: _json(cluster, "topics", "describe", topic)["records_per_second"] > 0, 10, "a rate greater than 0"
    )
    row = next(row for row in _rows(cluster.ctl("topics")) if row[0] == topic)
    check_equal(row[1:3], ["3", "60"], "partitions and records in topics list")


def check_flag_tail(cluster):
    topic = cluster.create_topic("tailed")
    for number in range(5):
        cluster.producer(topic, "--message", f"line {number}", "--key", "k").succeed(20)
    lines = cluster.ctl("tail", topic, "-n", 2).splitlines()
    check_equal([line.split(" ", 1)[1] for line in lines], ["0/3 k line 3", "0/4 k line 4"], "tail -n 2")
    check_equal(len(cluster.ctl("tail", topic).splitlines()), 5, "lines of tail")
    check_equal(json.loads(cluster.ctl("tail", topic, "-n", 1, "--json"))["value"], "line 4", "tail --json")
    following = cluster.start_ctl("tail", topic, "-n", 1, "-f")
    cluster.wait_until(lambda: b"line 4" in following.output(), 20, "the last record in tail -f")
    cluster.producer(topic, "--message", "line 5").succeed(20)
    cluster.wait_until(lambda: b"line 5" in following.output(), 20, "a new record in tail -f")
    following.kill()
    cluster.producer(topic, "--message", "no key").succeed(20)
    line = cluster.ctl("tail", topic, "-n", 1)
    check_equal(line.split(" ", 1)[1], "0/6 - no key\n", "a record without a key in tail")
    check_refused(cluster.start_ctl("tail", "nothing"), 20, "there is no topic 'nothing'")


def check_flag_misspelt_topics(cluster):
    """Whoever names a topic that does not exist hears of one with a similar name."""
    topic = cluster.create_topic("spelling")
    misspelt = "there is no topic 'speling'.*; did you mean 'spelling'"
    check_refused(cluster.consumer("speling"), 20, misspelt)
    check_refused(cluster.start_ctl("tail", "speling"), 20, misspelt)
    check_refused(cluster.start_ctl("query", "-t", "speling"), 20, "speling.*; did you mean 'spelling'")
    check_refused(cluster.start_ctl("topics", "describe", "speling"), 20, misspelt)
    check_refused(cluster.start_ctl("ring", "speling"), 20, misspelt)
    strange = cluster.consumer("nothing-like-it")
    check_refused(strange, 20, "there is no topic 'nothing-like-it'")
    check("did you mean" not in strange.errors(), f"a far-fetched hint: {strange.errors()!r}")
    cluster.ctl("topics", "delete", topic)


def check_flag_complete(cluster):
    """What shells ask for: names, one a line, and nothing else."""
    topic = cluster.create_topic("completed")
    cluster.producer(topic, "--message", "x").succeed(20)
    cluster.consumer(topic, "--group", "completing").succeed(30)
    check(topic in cluster.ctl("complete", "topics").split(), "the topic is not offered")
    check("completing" in cluster.ctl("complete", "groups").split(), "the group is not offered")
    check_equal(
        sorted(cluster.ctl("complete", "members").split()), sorted(each.name for each in cluster.brokers), "members"
    )
    check_equal(
        sorted(cluster.ctl("complete", "brokers").split()), sorted(each.address for each in cluster.brokers), "brokers"
    )


def check_flag_top(cluster):
    topic = cluster.create_topic("topped")
    cluster.producer(topic, "--message", "x", "--count", 7).succeed(20)
    afterwards = ["; echo code $?; read line && echo read $line"]
    shown = _on_a_terminal(cluster, "logstreamctl", "top", "--interval", 100, *afterwards, stdin=subprocess.PIPE)
    for word in [topic, "PARTITIONS", "leader", *(broker.name for broker in cluster.brokers)]:
        cluster.wait_until(lambda word=word: word.encode() in shown.output(), 20, f"{word} on the screen")

    def type_in(text):
        shown.popen.stdin.write(text)
        shown.popen.stdin.flush()

    type_in(b"q")
    cluster.wait_until(lambda: b"code 0" in shown.output(), 20, "exit code of top after q")
    type_in(b"hello\n")  # the terminal is as it was
    cluster.wait_until(lambda: b"read hello" in shown.output(), 20, "a shell reads from the terminal after top")
    _wrong(cluster, "top", "--interval", "99", pattern="--interval")
    check_refused(cluster.start_ctl("top"), 20, "top needs a terminal")
