"""The flags of `producer`. A name that ends in _on_the_wire needs hosts of their own."""

import json
import os
import re
import signal

import wire
from capture import Capture
from checks import Stopwatch, check, check_equal, wait_until
from client import check_refused, compare_lines

CODECS = {"none": 0, "gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}  # of the record batch


def _sent(cluster, topic, *flags, **where):
    """Runs a producer to its end; the PRODUCE requests that it sent, each with its batches."""
    network = cluster.network
    capture = Capture(cluster.run, *network.tap(network.client))
    try:
        cluster.producer(topic, *flags, **where).succeed(30)
    finally:
        seen = capture.stop()
    requests = [each.content for each in seen if each.type == "PRODUCE" and not each.content.is_response]
    return [(request.parse(), wire.decode_batches(request.body)) for request in requests]


def check_flag_topic_and_stdin(cluster):
    lines = cluster.run.numbered_lines(20)
    cluster.producer("stdin", stdin=cluster.run.write("stdin.in", lines)).succeed(20)
    cluster.producer("another", "--message", "x").succeed(20)
    compare_lines(cluster.read("stdin"), lines, "topic of lines from stdin")
    compare_lines(cluster.read("another"), [b"x"], "another topic")


def check_flag_file_and_count(cluster):
    lines = cluster.run.numbered_lines(20)
    path = cluster.run.write("file.in", lines)
    cluster.producer("file", "--file", path, "--count", 7, stdin=cluster.run.write("other.in", [b"not this"])).succeed(
        20
    )
    compare_lines(cluster.read("file"), lines[:7], "the first 7 lines of a file")


def check_flag_message_and_rate(cluster):
    producer = cluster.producer("rate", "--message", "tick", "--count", 30, "--rate", 30).succeed(20)
    seconds = float(producer.summary()["seconds"])
    check(0.8 < seconds < 5, f"30 records at 30 per second take {seconds} s")
    compare_lines(cluster.read("rate"), [b"tick"] * 30, "30 messages")


def check_flag_interval(cluster):
    producer = cluster.producer("interval", "--message", "tick", "--count", 5, "--interval", 200).succeed(20)
    seconds = float(producer.summary()["seconds"])
    check(0.7 < seconds < 5, f"5 records, 200 ms apart, take {seconds} s")


def check_flag_key(cluster):
    cluster.producer("key", "--message", "v", "--key", "k").succeed(20)
    compare_lines(cluster.read("key", "--format", "%k=%v"), [b"k=v"], "a key for every record")


def check_flag_key_separator(cluster):
    path = cluster.run.write("separator.in", [b"a:b:c", b"no key"])
    cluster.producer("separator", "--file", path, "--key-separator", ":").succeed(20)
    compare_lines(
        cluster.read("separator", "--format", "[%k] [%v]"), [b"[a] [b:c]", b"[] [no key]"], "keys before a colon"
    )


def check_flag_partition(cluster):
    cluster.create_topic("partition", partitions=4)
    cluster.producer("partition", "--message", "x", "--count", 12, "--partition", 2, "--batch-bytes", 1).succeed(20)
    compare_lines(cluster.read("partition", "--format", "%p"), [b"2"] * 12, "the partition of 12 records")
    check_refused(cluster.producer("partition", "--message", "x", "--partition", 4), 20, "partition")


def check_flag_partitioner(cluster):
    for how, expected in (("key", 1), ("turn", 3)):
        topic = cluster.create_topic(f"partitioner-{how}", partitions=3)
        cluster.producer(topic, "--message", "x", "--count", 6, "--key", "k", "--partitioner", how).succeed(20)
        used = set(cluster.read(topic, "--format", "%p"))
        check_equal(len(used), expected, f"partitions of 6 records of one key with --partitioner {how}")
    topic = cluster.create_topic("partitioner-random", partitions=3)
    cluster.producer(topic, "--message", "x", "--count", 200, "--key", "k", "--partitioner", "random").succeed(20)
    counts = [cluster.read(topic, "--format", "%p").count(b"%d" % partition) for partition in range(3)]
    check(min(counts) > 20, f"200 records of --partitioner random: {counts} in the partitions")
    for flags in (["--partition", 0, "--partitioner", "turn"], ["--partitioner", "sideways"]):
        check_equal(cluster.producer(topic, "--message", "x", *flags).wait(10), 2, f"exit of {flags}")


def check_flag_json(cluster):
    records = [
        {"key": "k1", "value": "one", "headers": {"host": "web1"}, "timestamp": 1_700_000_000_000, "partition": 1},
        {"value": {"an": "object"}},
        {"key_base64": "//8=", "value_base64": "gP8=", "headers": [{"key": "h", "value": None}]},
        {"key": "k4", "value": None},
    ]
    topic = cluster.create_topic("json-in", partitions=2)
    path = cluster.run.write("json-in.in", [json.dumps(each).encode() for each in records])
    cluster.producer(topic, "--file", path, "--json", "-H", "all=yes").succeed(20)
    found = {each["key"] or "": each for each in map(json.loads, cluster.read(topic, "--json")) if "key" in each}
    others = {"key": "all", "value": "yes"}
    first = {field: found["k1"][field] for field in ("partition", "value", "timestamp", "headers")}
    headers = [others, {"key": "host", "value": "web1"}]
    check_equal(
        first, {"partition": 1, "value": "one", "timestamp": 1_700_000_000_000, "headers": headers}, "a record"
    )
    check_equal(found[""]["value"], '{"an": "object"}', "a value that is no string")
    check_equal(found["k4"]["value"], None, "a null value")
    coded = next(each for each in map(json.loads, cluster.read(topic, "--json")) if "key_base64" in each)
    check_equal((coded["key_base64"], coded["value_base64"]), ("//8=", "gP8="), "bytes that are not UTF-8")
    check_equal(coded["headers"], [others, {"key": "h", "value": None}], "a header without a value")


def check_flag_json_of_a_consumer(cluster):
    cluster.producer("json-from", "--message", "v", "--key", "k", "-H", "a=b", "--count", 3).succeed(20)
    copied = cluster.run.write("json-copy.in", cluster.read("json-from", "--json"))
    cluster.producer("json-copy", "--file", copied, "--json").succeed(20)
    told = [json.loads(line) for topic in ("json-from", "json-copy") for line in cluster.read(topic, "--json")]
    for each in told:
        del each["topic"]
    check_equal(told[3:], told[:3], "records that a consumer wrote and a producer read")


def check_flag_json_that_is_wrong(cluster):
    lines = [
        b'{"value": "good"}',
        b"no JSON",
        b'{"vlaue": "x"}',
        b'{"key": "x"}',
        b'{"value": "x", "partition": 9}',
        b'{"value": "x", "partition": -1}',
        b'{"value_base64": "?"}',
        b'{"value": "good too"}',
    ]
    path, failed = cluster.run.write("json-wrong.in", lines), os.path.join(cluster.run.folder, "json-wrong.failed")
    producer = cluster.producer("json-wrong", "--file", path, "--json", "--failed", failed)
    check_refused(producer, 20, "line 2: expected a JSON object")
    compare_lines(cluster.read("json-wrong"), [b"good", b"good too"], "the lines that are records")
    with open(failed, "rb") as file:
        compare_lines(file.read().splitlines(), lines[1:-1], "--failed")


def check_flag_null_value(cluster):
    path = cluster.run.write("null.in", [b"a:1", b"b:", b"c:3"])
    cluster.producer("null", "--file", path, "--key-separator", ":", "--null-value").succeed(20)
    cluster.producer("null", "--file", path, "--key-separator", ":").succeed(20)
    values = [json.loads(line)["value"] for line in cluster.read("null", "--json")]
    check_equal(values, ["1", None, "3", "1", "", "3"], "values with and without --null-value")


def check_flag_topic_that_is_made(cluster):
    made = cluster.producer("made-now", "--message", "x").succeed(20).errors()
    check("producer: created topic 'made-now'\n" in made, f"it does not say that it made the topic: {made!r}")
    there = cluster.producer("made-now", "--message", "x").succeed(20).errors()
    check("created" not in there, f"it says that it made what was there: {there!r}")


def check_flag_acks_on_the_wire(cluster):
    topic = cluster.create_topic("acks")
    owner = cluster.owner(topic)
    followers = [broker for broker in cluster.brokers if broker is not owner]
    frames = "udp dport 9999 @th,104,8 4"
    timeout = ["--timeout", 700]
    cluster.network.lose(followers[0].number, frames)
    cluster.producer(topic, "--message", "quorum").succeed(10)
    check_refused(cluster.producer(topic, "--message", "all", "--acks", "all", *timeout), 10)
    cluster.network.lose(followers[1].number, frames)
    cluster.producer(topic, "--message", "owner", "--acks", "owner").succeed(10)
    check_refused(cluster.producer(topic, "--message", "quorum", "--acks", "quorum", *timeout), 10)
    requests = _sent(cluster, topic, "--message", "none", "--acks", "none")
    cluster.network.heal()
    check_equal([request.acks for request, _ in requests], [1], "acks of the requests of --acks none")
    found = wait_until(
        lambda: len(lines := cluster.read(topic)) >= 5 and lines, 20, "the followers catch up after the loss"
    )
    check_equal(sorted(set(found)), [b"all", b"none", b"owner", b"quorum"], "what is there after the loss")


def check_flag_batch_bytes_on_the_wire(cluster):
    path = cluster.run.write("batch.in", cluster.run.numbered_lines(200))
    small = [
        batch.size for _, batches in _sent(cluster, "batch", "--file", path, "--batch-bytes", 2000) for batch in batches
    ]
    large = [batch.size for _, batches in _sent(cluster, "batch", "--file", path) for batch in batches]
    check(
        max(small) < 3000 < max(large),
        f"batches of at most {max(small)} bytes with --batch-bytes 2000, {max(large)} without",
    )


def check_flag_linger_on_the_wire(cluster):
    pace = ["--message", "x", "--rate", 100, "--count", 60]
    many, few = len(_sent(cluster, "linger", *pace, "--linger", 0)), len(
        _sent(cluster, "linger", *pace, "--linger", 250)
    )
    check(few <= 8 and many >= 20, f"60 records at 100 per second go in {few} batches with --linger 250, {many} with 0")


def check_flag_compression_on_the_wire(cluster):
    path = cluster.run.write("compression.in", cluster.run.numbered_lines(200))
    for name, number in {**CODECS, "auto": CODECS["zstd"]}.items():
        requests = _sent(cluster, "compression", "--file", path, "--compression", name)
        check_equal(
            {batch.codec for _, batches in requests for batch in batches},
            {number},
            f"codec of batches sent with {name}",
        )


def check_flag_name_and_resume(cluster):
    lines = cluster.run.numbered_lines(300)
    flags = ["--file", cluster.run.write("resume.in", lines), "--name", "import"]
    cluster.producer("resume", *flags, "--count", 120).succeed(20)
    producer = cluster.producer("resume", *flags, "--resume").succeed(20)
    compare_lines(cluster.read("resume"), lines, "a file sent in two runs")
    check(
        "120 lines were already there" in producer.summary()["rest"],
        f"the summary of --resume: {producer.last_words()}",
    )


def check_flag_resume_with_a_line_that_is_too_long(cluster):
    """The cluster counts records, not lines: behind one that it refuses nothing may be sent, or the count is wrong."""
    lines = cluster.run.numbered_lines(20)
    too_long = lines[:12] + [b"x" * (2 << 20)] + lines[13:]
    flags = ["--file", cluster.run.write("too-long.in", too_long), "--name", "too-long"]
    for again in ([], ["--resume"]):
        refused = cluster.producer("too-long", *flags, *again)
        check_refused(refused, 20, "line 13: .*; the lines after it were not sent")
        compare_lines(cluster.read("too-long"), lines[:12], "the lines before one that is too long")
    cluster.run.write("too-long.in", lines)
    cluster.producer("too-long", *flags, "--resume").succeed(20)
    compare_lines(cluster.read("too-long"), lines, "a file sent again when the line is mended")


def check_flag_name_fences(cluster):
    older = cluster.producer("fenced", "--message", "old", "--rate", 50, "--name", "one")
    seen = cluster.consumer("fenced", "--follow", "--count", 1)  # follows a topic that is yet to be made, too
    seen.succeed(10)
    cluster.producer("fenced", "--message", "new", "--name", "one").succeed(20)
    check_refused(older, 20, "newer instance")


def check_flag_timeout_and_failed(cluster):
    """In a view that is too small for min_in_sync everything is refused until the timeout."""
    small = cluster.run.cluster(2, name="small", **{"replication.min_in_sync": 2}).start()
    small.create_topic("refused")
    leader = small.leader()
    next(broker for broker in small.brokers if broker is not leader).kill()
    small.wait_until(
        lambda: "min_in_sync" in (leader.status() or {}).get("reason", ""), 20, "the leader refuses writes"
    )
    lines, failed = small.run.numbered_lines(20), os.path.join(small.run.folder, "refused.failed")
    path = small.run.write("refused.in", lines)
    watch = Stopwatch()
    check_refused(
        small.producer("refused", "--file", path, "--timeout", 1500, "--failed", failed),
        15,
        "min_in_sync",
        "20 NOT ACKNOWLEDGED",
    )
    check(1.4 < watch.seconds < 8, f"--timeout 1500 lasts {watch.seconds:.1f} s")
    with open(failed, "rb") as file:
        compare_lines(file.read().split(b"\n")[:-1], lines, "the file of --failed")
    watch = Stopwatch()
    check_refused(small.producer("refused", "--message", "x", "--timeout", 0), 10, "min_in_sync")
    check(watch.seconds < 2, f"--timeout 0 lasts {watch.seconds:.1f} s")
    check_equal(small.read("refused"), [], "what was refused")
    for broker in small.brokers:
        broker.kill()


def _on_a_terminal(cluster, program, *words, stdin=None):
    """A program on a terminal of its own; what that shows is the output."""
    brokers = ",".join(broker.address for broker in cluster.brokers)
    # Tall enough for all topics of this run.
    command = " ".join(map(str, ["stty rows 200 cols 160; TERM=xterm", cluster.run.program(program), "--brokers", brokers, *words]))
    return cluster.run.start(cluster.client_place, ["script", "-qefc", command, "/dev/null"], stdin=stdin)


def check_flag_file_on_a_terminal(cluster):
    path = cluster.run.write("terminal.in", cluster.run.numbered_lines(60))
    shown = _on_a_terminal(cluster, "producer", "--topic", "terminal", "--file", path, "--rate", 40).succeed(20).output()
    check(re.search(rb"\r\x1b\[K\d+ records acknowledged; [\d.]+ k?B sent, .*; \d+ %, 0:0\d left", shown), f"no progress: {shown!r}")
    check(re.search(rb"\r\x1b\[Kproducer: 60 records", shown), f"the summary stands beside the progress: {shown!r}")
    out = os.path.join(cluster.run.folder, "terminal.out")
    reading = _on_a_terminal(cluster, "consumer", "--topic", "terminal", "--follow", "--timeout", 1500, ">", out)
    reading.wait(20)
    check(b"\r\x1b[K60 records, " in reading.output(), f"no progress: {reading.output()!r}")
    quiet = cluster.producer("terminal", "--file", path, "--rate", 100).succeed(20).errors()
    check("\r" not in quiet, f"progress is shown where there is no terminal: {quiet!r}")


def check_flag_pace_ends_with_the_input(cluster):
    """After the last line there is nothing to wait for."""
    cluster.producer("paced-end", "--message", "x", "--count", 1, "--interval", 600_000).succeed(20)
    cluster.producer("paced-end", "--rate", 0.001, stdin=cluster.run.write("paced-end.in", [b"y"])).succeed(20)
    compare_lines(cluster.read("paced-end"), [b"x", b"y"], "records of a slow pace")


def check_flag_topic_typed(cluster):
    typed = cluster.run.write("typed.in", [b"one", b"two", b"\x04"])
    shown = _on_a_terminal(cluster, "producer", "--topic", "typed", stdin=typed).succeed(20).output()
    check(b"producer: reading lines from the terminal; end with Ctrl-D" in shown, f"it does not say that it reads: {shown!r}")
    compare_lines(cluster.read("typed"), [b"one", b"two"], "lines that were typed")


def check_flag_message_interrupted_on_the_wire(cluster):
    topic = cluster.create_topic("interrupted")
    owner = cluster.owner(topic)
    for broker in cluster.brokers:
        if broker is not owner:
            cluster.network.lose(broker.number, "udp dport 9999 @th,104,8 4")
    producer = cluster.producer(topic, "--message", "x", "--count", 2, "--rate", 100)
    held = ["query", "-t", topic, "--at", owner.address]
    cluster.wait_until(lambda: cluster.ctl(*held, "--json").count("\n") >= 2, 20, "the owner holds what is not acknowledged")
    producer.send_signal(signal.SIGINT)
    cluster.wait_until(
        lambda: "2 records are not acknowledged yet: waiting; press Ctrl-C again to give up\n" in producer.errors(),
        10,
        "the producer says what it waits for",
    )
    cluster.network.heal()
    check_equal(producer.succeed(20).summary()["records"], "2", "records acknowledged after the first Ctrl-C")


def check_flag_brokers(cluster):
    elsewhere = ["--broadcast-port", 8887, "--timeout", 0]
    message = ["--message", "x"]
    cluster.producer("brokers", *message, *elsewhere).succeed(10)
    check_refused(cluster.producer("brokers", *message, *elsewhere, brokers=None), 10)


def check_flag_broadcast_port(cluster):
    cluster.producer("broadcast", "--message", "x", brokers=None).succeed(10)
    check_refused(
        cluster.producer("broadcast", "--message", "x", "--broadcast-port", 8887, "--timeout", 0, brokers=None), 10
    )


def check_flag_cluster(cluster):
    check_refused(cluster.producer("cluster", "--message", "x", "--cluster", "other", "--timeout", 0), 15)


def check_flag_interface_on_the_wire(cluster):
    message = ["--message", "x", "--timeout", 0]
    cluster.producer("interface", *message, "--interface", "eth0", brokers=None).succeed(10)
    check_refused(cluster.producer("interface", *message, "--interface", "lo", brokers=None), 10)


def check_flag_verbose(cluster):
    view = f"view {cluster.wait_for_view()['view']}:"
    quiet = cluster.producer("verbose", "--message", "x").succeed(20).errors()
    check(view not in quiet, f"without --verbose the producer says: {quiet}")
    loud = cluster.producer("verbose", "--message", "x", "--verbose").succeed(20).errors()
    check(view in loud, f"with --verbose the producer does not tell its {view} {loud}")


def check_flag_help_and_wrong_usage(cluster):
    for program in ("producer", "consumer"):
        run = cluster.run
        help_ = run.start(cluster.client_place, [run.program(program), "--help"]).succeed(10)
        check(b"--topic" in help_.output(), f"{program} --help prints no --topic on stdout")
        version = run.start(cluster.client_place, [run.program(program), "--version"]).succeed(10).output().decode()
        check(re.fullmatch(rf"{program} \d+\.\d+\.\d+\S*\n", version), f"{program} --version prints {version!r}")
        for words, said in (
            (["--topic", "x", "--nonsense"], "there is no flag '--nonsense'"),
            (["--tpoic", "x"], "there is no flag '--tpoic'; did you mean '--topic'?"),
        ):
            wrong = run.start(cluster.client_place, [run.program(program), *words])
            check_equal(wrong.wait(10), 2, f"exit code of {program} {words}")
            check(said in wrong.errors(), f"{program} {words} says {wrong.errors()!r}")
    owner = cluster.producer("named", "--message", "x", "--name", "n", "--acks", "owner")
    check_equal(owner.wait(10), 2, "exit code of a named producer with --acks owner")
