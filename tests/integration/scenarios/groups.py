"""Consumer groups as their users see them: where they begin, what becomes of a topic, how they are listed and end."""

import json
import signal

from checks import check, check_equal
from client import check_refused, compare_lines
from scenario import scenario

RECORDS = 20


@scenario("groups")
def groups(run):
    cluster = run.cluster(3, **{"limits.groups": 3}).start()
    _begins_at_the_end(run, cluster)
    _topic_made_anew(run, cluster)
    _listed_described_deleted(run, cluster)
    _empty_ones_do_not_count(cluster)
    cluster.verify()
    return "a group keeps where it began, reads a topic that is made anew, is listed, described and deleted"


def _send(run, cluster, topic, name):
    lines = run.numbered_lines(RECORDS, f"{name} ")
    cluster.producer(topic, "--file", run.write(f"{topic}-{name}.in", lines)).succeed(20)
    return lines


def _describe(cluster, group):
    return json.loads(cluster.ctl("groups", "describe", group, "--json"))


def _positions(cluster, group):
    process = cluster.start_ctl("groups", "describe", group, "--json")
    if process.wait(20) != 0:
        return []  # the group is not there yet
    return [each["committed"] for each in json.loads(process.output())["partitions"]]


def _begins_at_the_end(run, cluster):
    """Nothing is skipped that comes after a group began at `latest`, though it got nothing and was away."""
    topic = cluster.create_topic("late")
    _send(run, cluster, topic, "old")
    flags = ["--group", "late", "--from", "latest", "--follow"]
    first = cluster.consumer(topic, *flags)
    cluster.wait_until(lambda: _positions(cluster, "late") == [RECORDS], 20, "where the group begins is committed")
    first.send_signal(signal.SIGKILL)
    first.wait(10)
    lines = _send(run, cluster, topic, "new")
    second = cluster.consumer(topic, *flags, "--count", RECORDS).succeed(30)
    compare_lines(second.lines(), lines, "records that came while the group was away")


def _topic_made_anew(run, cluster):
    """A topic that took the name is read from its beginning: by a group that comes back, and by one that stayed."""
    topic = cluster.create_topic("again")
    old = _send(run, cluster, topic, "old")
    flags = ["--from", "latest", "--follow"]
    cluster.consumer(topic, "--group", "away", "--count", RECORDS).succeed(20)
    stayed = cluster.consumer(topic, "--group", "stayed", *flags)
    cluster.wait_until(lambda: _positions(cluster, "stayed") == [len(old)], 20, "the group that stays has begun")
    cluster.ctl("topics", "delete", topic)
    cluster.create_topic(topic, partitions=2)
    lines = sorted(_send(run, cluster, topic, "new"))
    cluster.wait_until(lambda: stayed.line_count() >= RECORDS, 30, "the group that stayed has the new records")
    stayed.send_signal(signal.SIGTERM)
    compare_lines(sorted(stayed.succeed(10).lines()), lines, "what the group that stayed got of the new topic")
    back = cluster.consumer(topic, "--group", "away", *flags, "--count", RECORDS).succeed(30)
    compare_lines(sorted(back.lines()), lines, "what the group that was away got of the new topic")


def _listed_described_deleted(run, cluster):
    topic = cluster.create_topic("told", partitions=2)
    _send(run, cluster, topic, "x")
    cluster.consumer(topic, "--group", "told").succeed(20)
    _send(run, cluster, topic, "y")
    listed = {each["group"]: each for each in json.loads(cluster.ctl("groups", "--json"))["groups"]}
    check_equal(sorted(listed), ["away", "late", "stayed", "told"], "groups")
    check_equal(listed["told"]["members"], 0, "members of a group that everybody left")
    check(0 < listed["told"]["expires_ms"] <= 7 * 86_400_000, f"when it ends: {listed['told']}")
    rows = [line.split() for line in cluster.ctl("groups", "list").splitlines()]
    check(["told", "0"] in [row[:2] for row in rows], f"groups list: {rows}")
    told = _describe(cluster, "told")
    check_equal(sum(each["committed"] for each in told["partitions"]), RECORDS, "committed")
    check_equal(sum(each["lag"] for each in told["partitions"]), RECORDS, "lag")
    check("HIGH WATERMARK" in cluster.ctl("groups", "describe", "told"), "groups describe shows no high watermark")
    reader = cluster.consumer(topic, "--group", "told", "--follow")
    cluster.wait_until(lambda: reader.line_count() == RECORDS, 20, "the group reads on where it was")
    check_equal([each["member"] is not None for each in _describe(cluster, "told")["partitions"]], [True] * 2, "readers")
    check_refused(cluster.start_ctl("groups", "delete", "told"), 20, r"has members \(1\)")
    reader.send_signal(signal.SIGTERM)
    reader.succeed(10)
    check_equal(json.loads(cluster.ctl("groups", "delete", "told", "--json")), {"deleted": "told"}, "groups delete")
    check_refused(cluster.start_ctl("groups", "describe", "told"), 20, "no group 'told'")
    check_refused(cluster.start_ctl("groups", "delete", "told"), 20, "no group 'told'")
    check_equal(len(cluster.read(topic, "--group", "told")), 2 * RECORDS, "records for a group that is forgotten")


def _empty_ones_do_not_count(cluster):
    for number in range(5):
        check_equal(len(cluster.read("told", "--group", f"new-{number}")), 2 * RECORDS, f"records of group {number}")
