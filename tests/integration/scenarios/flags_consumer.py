"""The flags of `consumer`."""

import base64
import json
import signal
import time

from checks import Stopwatch, check, check_equal
from client import check_refused, compare_lines, wait_for_lines

RECORDS = 100


def _lines(cluster):
    """Topic `numbers` and what it holds; made by the first that asks."""
    lines = cluster.run.numbered_lines(RECORDS)
    if not getattr(cluster, "numbers_made", False):
        cluster.producer("numbers", "--file", cluster.run.write("numbers.in", lines)).succeed(20)
        cluster.numbers_made = True
    return lines


def check_flag_from(cluster):
    lines = _lines(cluster)
    compare_lines(cluster.read("numbers"), lines, "without --from")
    compare_lines(cluster.read("numbers", "--from", "earliest"), lines, "--from earliest")
    compare_lines(cluster.read("numbers", "--from", 90), lines[90:], "--from 90")
    compare_lines(cluster.read("numbers", "--from", "-5"), lines[-5:], "--from -5")
    compare_lines(cluster.read("numbers", "--from", "latest"), [], "--from latest")
    _, second, _ = _three_moments(cluster)
    compare_lines(cluster.read("moments", "--from", f"@{second}"), [b"b", b"c"], "--from @ a moment")
    compare_lines(cluster.read("moments", "--from", "@-1h"), [b"a", b"b", b"c"], "--from @-1h")
    compare_lines(cluster.read("moments", "--from", "@2100-01-01"), [], "--from @ the future")
    wrong = cluster.consumer("moments", "--from", "@noon")
    check_equal(wrong.wait(10), 2, "exit of --from @noon")
    check("--from takes after @ a time like" in wrong.errors(), f"it says {wrong.errors()!r}")


def check_flag_json(cluster):
    words = ["--key", "k\u00e4", "-H", "host=web1", "--header", "empty="]
    cluster.producer("json", "--message", "v", *words).succeed(20)
    cluster.producer("json", "--file", cluster.run.write("json.in", [b"\xff\x00 not UTF-8"])).succeed(20)
    first, second = (json.loads(line) for line in cluster.read("json", "--json"))
    check(abs(first.pop("timestamp") / 1000 - time.time()) < 60, "the timestamp is not that of now")
    headers = [{"key": "host", "value": "web1"}, {"key": "empty", "value": ""}]
    expected = {"topic": "json", "partition": 0, "offset": 0, "key": "k\u00e4", "value": "v", "headers": headers}
    check_equal(first, expected, "--json")
    check_equal(second["key"], None, "the key of a record without one")
    check_equal(base64.b64decode(second["value_base64"]), b"\xff\x00 not UTF-8", "value_base64")
    wrong = cluster.producer("json", "--message", "v", "--header", "=web1")
    check_equal(wrong.wait(10), 2, "exit of --header without a key")


def check_flag_until(cluster):
    first, second, third = _three_moments(cluster)
    compare_lines(cluster.read("moments", "--until", f"@{second}"), [b"a"], "--until @ a moment")
    compare_lines(
        cluster.read("moments", "--from", f"@{second}", "--until", f"@{third}"), [b"b"], "--from and --until"
    )
    compare_lines(cluster.read("moments", "--until", f"@{first}"), [], "--until @ the first record")
    compare_lines(cluster.read("moments", "--until", "@2100-01-01"), [b"a", b"b", b"c"], "--until @ the future")


def _three_moments(cluster):
    """The timestamps of three records of one batch, each later than the one before."""
    if not getattr(cluster, "moments_made", False):
        lines = cluster.run.write("moments.in", [b"a", b"b", b"c"])
        cluster.producer("moments", "--file", lines, "--interval", 20, "--linger", 2000).succeed(20)
        cluster.moments_made = True
    moments = [int(line) for line in cluster.read("moments", "--format", "%T")]
    check(moments[0] < moments[1] < moments[2], f"the records' times are {moments}")
    return moments


def check_flag_follow(cluster):
    cluster.producer("follow", "--message", "first").succeed(20)
    consumer = cluster.consumer("follow", "--follow")
    wait_for_lines(consumer, 1, 10)
    cluster.producer("follow", "--message", "second").succeed(20)
    compare_lines(wait_for_lines(consumer, 2, 10), [b"first", b"second"], "--follow")
    check(consumer.running, "--follow ends by itself")
    consumer.send_signal(signal.SIGINT)
    consumer.succeed(10)


def check_flag_count(cluster):
    compare_lines(cluster.read("numbers", "--count", 7), _lines(cluster)[:7], "--count 7")
    cluster.consumer("numbers", "--follow", "--count", 7).succeed(10)


def check_flag_group(cluster):
    lines = _lines(cluster)
    compare_lines(cluster.read("numbers", "--group", "g", "--count", 30), lines[:30], "the first 30 by a group")
    compare_lines(cluster.read("numbers", "--group", "g"), lines[30:], "the rest by the group")
    compare_lines(cluster.read("numbers", "--group", "h"), lines, "all by another group")


def check_flag_group_with_from(cluster):
    cluster.read("numbers", "--group", "placed", "--count", 30, "--from", 10)
    again = cluster.consumer("numbers", "--group", "placed", "--from", "earliest", "--verbose").succeed(20)
    compare_lines(again.lines(), _lines(cluster)[40:], "a group goes on where it stopped")
    check("--from applies only to partitions that it has not read" in again.errors(), f"--from is ignored: {again.errors()!r}")
    check("assigned this member 1 of the partitions of 'numbers': 0 from 40" in again.errors(), "no assignment is told")


def check_flag_grep(cluster):
    lines = [b"info a", b"error b", b"\xff error \x00", b"info c"]
    cluster.producer("grep", "--file", cluster.run.write("grep.in", lines)).succeed(20)
    compare_lines(cluster.read("grep", "--grep", "err(or)?"), lines[1:3], "--grep")
    compare_lines(cluster.read("grep", "--grep", "^info", "--count", 1), lines[:1], "--grep and --count")
    compare_lines(cluster.read("grep", "--grep", "info", "--group", "greps"), [lines[0], lines[3]], "of a group")
    compare_lines(cluster.read("grep", "--group", "greps"), [], "what the group has passed over")
    wrong = cluster.consumer("grep", "--grep", "(")
    check_equal(wrong.wait(10), 2, "exit of --grep with a pattern that is none")
    check("missing )" in wrong.errors(), f"it says {wrong.errors()!r}")


def check_flag_key(cluster):
    path = cluster.run.write("keys.in", [b"a:1", b"b:2", b"a:3", b"4"])
    cluster.producer("keys", "--file", path, "--key-separator", ":").succeed(20)
    compare_lines(cluster.read("keys", "--key", "a"), [b"1", b"3"], "--key")
    compare_lines(cluster.read("keys", "--key", ""), [], "an empty key")


def check_flag_timeout(cluster):
    lines = _lines(cluster)
    consumer = cluster.consumer("numbers", "--follow", "--timeout", 1000)
    check_refused(consumer, 10, "no record arrived within 1 s: there is nothing new")
    compare_lines(consumer.lines(), lines, "--timeout")
    check_refused(cluster.consumer("nowhere", "--follow", "--timeout", 1000), 10, "there is no topic 'nowhere'")


def check_flag_session_timeout(cluster):
    consumer = cluster.consumer("numbers", "--group", "short", "--session-timeout", 1, "--follow")
    wait_for_lines(consumer, RECORDS, 10)
    consumer.kill()
    watch = Stopwatch()
    cluster.wait_until(
        lambda: all(broker.status()["clients"]["group_members"] == 0 for broker in cluster.brokers),
        20,
        "the session of a dead consumer ends",
    )
    check(watch.seconds < 4, f"a session of 1 s lasts {watch.seconds:.1f} s")


def check_flag_group_after_a_crash(cluster):
    """The next reader waits until the dead one's session is over, and reads what it has not."""
    topic = cluster.create_topic("crashed", partitions=2)
    path = cluster.run.write("crashed.in", [b"%d" % number for number in range(10)])
    cluster.producer(topic, "--file", path, "--partitioner", "turn").succeed(20)
    first = cluster.consumer(topic, "--group", "crash", "--follow", "--session-timeout", 3)
    wait_for_lines(first, 10, 20)
    first.kill()
    cluster.producer(topic, "--file", path, "--partitioner", "turn").succeed(20)
    second = cluster.consumer(topic, "--group", "crash", "--session-timeout", 1).succeed(30)
    # What the first had not committed yet comes again.
    check(set(second.lines()) == {b"%d" % number for number in range(10)}, f"the next reader prints {second.lines()}")


def check_flag_group_reset_while_away(cluster):
    topic = cluster.create_topic("away")
    cluster.producer(topic, "--message", "x", "--count", 12).succeed(20)
    member = cluster.consumer(topic, "--group", "away", "--follow", "--session-timeout", 1, "--format", "%o")
    wait_for_lines(member, 12, 20)
    described = ["groups", "describe", "away", "--json"]
    committed = lambda: json.loads(cluster.ctl(*described))["partitions"][0]["committed"]
    cluster.wait_until(lambda: committed() == 12, 20, "all is committed")
    member.send_signal(signal.SIGSTOP)
    cluster.wait_until(lambda: not json.loads(cluster.ctl(*described))["members"], 20, "the session is over")
    cluster.ctl("groups", "reset", "away", "--to", "5", "--yes")
    member.send_signal(signal.SIGCONT)
    offsets = [int(line) for line in wait_for_lines(member, 12 + 7, 20)]
    check_equal(offsets, [*range(12), *range(5, 12)], "offsets read before and after the reset")
    check("group 'away' was reset: partition 0 of 'away' continues at offset 5" in member.errors(), member.errors())
    cluster.wait_until(lambda: committed() == 12, 20, "all is committed again")
    member.send_signal(signal.SIGTERM)
    member.succeed(20)


def check_flag_from_latest_of_a_topic_to_come(cluster):
    """All of a topic that is created later is new."""
    plain = cluster.consumer("to-come", "--from", "latest", "--follow")
    grouped = cluster.consumer("to-come", "--from", "latest", "--follow", "--group", "to-come")
    for consumer in (plain, grouped):
        cluster.wait_until(lambda: "there is no topic" in consumer.errors(), 20, "the consumer waits for its topic")
    cluster.producer("to-come", "--message", "x", "--count", 5).succeed(20)
    for consumer in (plain, grouped):
        compare_lines(wait_for_lines(consumer, 5, 20), [b"x"] * 5, "--from latest of a topic that came later")
        consumer.send_signal(signal.SIGTERM)
        consumer.succeed(20)


def check_flag_topic_pattern_waits(cluster):
    consumer = cluster.consumer("no-such-*", "--follow")
    cluster.wait_until(
        lambda: "waiting: no topic matches 'no-such-*'" in consumer.errors(), 20, "it says what it waits for"
    )
    consumer.send_signal(signal.SIGTERM)
    consumer.succeed(20)


def check_flag_format(cluster):
    cluster.producer("format", "--message", "v", "--key", "k", "--count", 2).succeed(20)
    found = cluster.read("format", "--format", "%t/%p/%o/%k/%v/%h/%%")
    compare_lines(found, [b"format/0/0/k/v//%", b"format/0/1/k/v//%"], "--format")
    stamp = int(cluster.read("format", "--format", "%T", "--count", 1)[0])
    check(abs(stamp / 1000 - time.time()) < 120, f"--format %T prints {stamp}")
    cluster.producer(
        "format-time", "--json", stdin=cluster.run.write("time.in", [b'{"value": "v", "timestamp": 1764410430250}'])
    ).succeed(20)
    compare_lines(cluster.read("format-time", "--format", "%d"), [b"2025-11-29T10:00:30.250Z"], "--format %d")


def check_flag_partition(cluster):
    cluster.create_topic("parts", partitions=3)
    for number in range(3):
        cluster.producer("parts", "--message", f"in {number}", "--partition", number).succeed(20)
    compare_lines(cluster.read("parts", "--partition", 1), [b"in 1"], "--partition 1")
    check_equal(len(cluster.read("parts")), 3, "records of all partitions")


def check_flag_topic_several(cluster):
    for name in ("many.a", "many.b", "other"):
        cluster.producer(name, "--message", name).succeed(20)
    shown = ["--format", "%t %v"]
    compare_lines(sorted(cluster.read("many.*", *shown)), [b"many.a many.a", b"many.b many.b"], "--topic 'many.*'")
    found = cluster.read("many.a", "--topic", "other", *shown)
    compare_lines(sorted(found), [b"many.a many.a", b"other other"], "two times --topic")
    compare_lines(sorted(cluster.read("many.[b-z],other", *shown)), [b"many.b many.b", b"other other"], "a list")
    check_refused(cluster.consumer("none.*"), 20, r"no topic matches 'none\.\*'")
    following = cluster.consumer("many.?", "--follow", "--from", "latest", "--timeout", 4000, *shown)
    check_equal(len(cluster.read("many.*", "--group", "many")), 2, "what a group reads")
    check_equal(len(cluster.read("many.*", "--group", "many")), 0, "what a group reads again")
    cluster.producer("many.c", "--message", "new").succeed(20)
    compare_lines(wait_for_lines(following, 1, 20), [b"many.c new"], "a topic that was created while it followed")
    check_refused(following, 20, "no record arrived within 4 s")
    analytics = cluster.read("many.*", "--analytics", "--interval", 100)[-1]
    check(b"many.a/0:1 many.b/0:1" in analytics, f"--analytics of several topics prints {analytics!r}")


def check_flag_analytics(cluster):
    _lines(cluster)
    consumer = cluster.consumer("numbers", "--analytics", "--window", 3, "--interval", 100, "--follow")
    watch = Stopwatch()
    lines = wait_for_lines(consumer, 8, 10)
    check(watch.seconds < 4, f"8 lines of --analytics --interval 100 take {watch.seconds:.1f} s")
    consumer.send_signal(signal.SIGINT)
    consumer.succeed(10)
    check(
        all(b"rate=" in line and b"window=3s" in line for line in lines), f"--analytics --window 3 prints {lines[0]!r}"
    )
    check(
        any(b"records=%d " % RECORDS in line for line in lines),
        f"--analytics counts no {RECORDS} records: {lines[-1]!r}",
    )


def check_flag_brokers_and_broadcast_port(cluster):
    lines = _lines(cluster)
    compare_lines(cluster.read("numbers", "--broadcast-port", 8887), lines, "asking brokers by address")
    compare_lines(cluster.read("numbers", brokers=None), lines, "finding brokers by broadcast")
    check_refused(cluster.consumer("numbers", "--broadcast-port", 8887, brokers=None), 20)


def check_flag_cluster(cluster):
    check_refused(cluster.consumer("numbers", "--cluster", "other"), 20)
