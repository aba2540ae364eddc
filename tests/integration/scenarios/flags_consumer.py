"""The flags of `consumer`."""

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


def check_flag_timeout(cluster):
    lines = _lines(cluster)
    consumer = cluster.consumer("numbers", "--follow", "--timeout", 1000)
    check_refused(consumer, 10, "no record came within 1 s: there is nothing new")
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


def check_flag_format(cluster):
    cluster.producer("format", "--message", "v", "--key", "k", "--count", 2).succeed(20)
    found = cluster.read("format", "--format", "%t/%p/%o/%k/%v/%h/%%")
    compare_lines(found, [b"format/0/0/k/v//%", b"format/0/1/k/v//%"], "--format")
    stamp = int(cluster.read("format", "--format", "%T", "--count", 1)[0])
    check(abs(stamp / 1000 - time.time()) < 120, f"--format %T prints {stamp}")


def check_flag_partition(cluster):
    cluster.create_topic("parts", partitions=3)
    for number in range(3):
        cluster.producer("parts", "--message", f"in {number}", "--partition", number).succeed(20)
    compare_lines(cluster.read("parts", "--partition", 1), [b"in 1"], "--partition 1")
    check_equal(len(cluster.read("parts")), 3, "records of all partitions")


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
