"""The flags of `logstreamctl`. What elect, remove, drain and recover do to a cluster, others check."""

import glob
import json
import os
import re
import time

from checks import Stopwatch, check, check_equal
from client import check_refused

FRAMES = "udp dport 9999 @th,104,8 4"  # of replication


def _json(cluster, *words, **where):
    return json.loads(cluster.ctl(*words, "--json", **where))


def _query(cluster, topic, *flags):
    """What `query --json` prints, one object a line."""
    return [json.loads(line) for line in cluster.ctl("query", "-t", topic, *flags, "--json").splitlines()]


def _values(found):
    return [each["value"] for each in found]


def _rows(text):
    """The words of each line of a table."""
    return [line.split() for line in text.splitlines()]


def _wrong(cluster, *words, pattern):
    """Wrong usage: exit code 2, nothing on stdout, and what was wrong on stderr."""
    process = cluster.start_ctl(*words)
    code, said = process.wait(10), process.errors()
    check_equal((code, process.output()), (2, b""), f"exit code and stdout of {' '.join(words)}; it says {said!r}")
    check(re.search(pattern, said), f"{' '.join(words)}: expected {pattern!r}, found {said!r}")


def check_flag_ring(cluster):
    names = {broker.id: broker.name for broker in cluster.brokers if broker.status()}
    topic = cluster.create_topic("ringed", partitions=2)
    cluster.create_topic("beside")
    one = _json(cluster, "ring", topic)
    check_equal(one["owner"], one["partitions"][0]["owner"], "owner of partition 0")
    check_equal([each["replicas"][0] == each["owner"] for each in one["partitions"]], [True] * 2, "first replica")
    every = _json(cluster, "ring")
    check_equal(every["view"], cluster.wait_for_view()["view"], "view")
    check(one in every["topics"], f"ring tells of {topic} what ring {topic} does not")
    check("beside" in [each["topic"] for each in every["topics"]], "ring leaves out a topic")
    text = _rows(cluster.ctl("ring", topic))[2:]
    check_equal(
        text,
        [[topic, str(each["partition"]), *(names[id_] for id_ in each["replicas"])] for each in one["partitions"]],
        f"ring {topic}",
    )


def check_flag_append(cluster):
    topic = cluster.create_topic("appended", partitions=3)
    told = [
        _json(cluster, "append", "--topic", topic, "--content", "by partition", "--partition", 2),
        _json(cluster, "append", "-t", topic, "-c", "with key", "--key", "k", "--partition", 2),
    ]
    check_equal(told, [{"topic": topic, "partition": 2, "offset": offset} for offset in (0, 1)], "append --json")
    check_equal(
        [(each["partition"], each["key"], each["value"]) for each in _query(cluster, topic)],
        [(2, None, "by partition"), (2, "k", "with key")],
        "partition, key and value",
    )
    said = cluster.ctl("append", "-t", topic, "-c", "x", "--partition", 1)
    check_equal(said, f"appended to {topic}/1 at offset 0\n", "append")
    keyed = {_json(cluster, "append", "-t", topic, "-c", str(n), "--key", "same")["partition"] for n in range(5)}
    check_equal(len(keyed), 1, "partitions of five records of one key")
    check_refused(cluster.start_ctl("append", "-t", topic, "-c", "x", "--partition", 3), 10, "partition")
    _wrong(cluster, "append", "-t", topic, pattern="--content")
    _wrong(cluster, "append", "-c", "x", pattern="--topic")


def check_flag_append_timeout(cluster):
    """A view that is too small for min_in_sync refuses."""
    small = cluster.run.cluster(1, name="small").start()
    topic, broker = small.create_topic("refused"), small.brokers[0]
    broker.stop()
    broker.start("--set", "replication.min_in_sync=2")
    small.wait_until(
        lambda: "min_in_sync" in (broker.status() or {}).get("reason", ""), 20, "the broker refuses writes"
    )
    for timeout, least, most in ((0, 0, 5), (1500, 1.4, 9)):
        watch = Stopwatch()
        check_refused(small.start_ctl("append", "-t", topic, "-c", "x", "--timeout", timeout), 15, "min_in_sync")
        check(least <= watch.seconds < most, f"append --timeout {timeout} lasts {watch.seconds:.1f} s")
    broker.kill()


def check_flag_query_range(cluster):
    topic = cluster.create_topic("ranged", partitions=2)
    for number in (0, 1):
        lines = [b"%d.%d" % (number, offset) for offset in range(10)]
        path = cluster.run.write(f"ranged-{number}.in", lines)
        cluster.producer(topic, "--file", path, "--partition", number).succeed(20)
    first, second = ([f"{number}.{offset}" for offset in range(10)] for number in (0, 1))
    check_equal(_values(_query(cluster, topic)), first + second, "query")
    check_equal(_values(_query(cluster, topic, "--partition", 1)), second, "query --partition 1")
    check_equal(_values(_query(cluster, topic, "--partition", 1, "--from", 7)), second[7:], "query --from 7")
    check_equal(_values(_query(cluster, topic, "--from", 2, "--count", 4)), first[2:6], "query --from 2 --count 4")
    check_equal(_values(_query(cluster, topic, "--from", 9, "--count", 2)), [first[9], second[9]], "across partitions")
    check_equal(_query(cluster, topic, "--from", 10), [], "query from the end on")
    check_equal(_query(cluster, topic, "--count", 0), [], "query --count 0")
    view = cluster.wait_for_view()["view"]
    text = cluster.ctl("query", "-t", topic, "--partition", 1, "--from", 9)
    check_equal(text, f"1/9 view={view} committed 1.9\n", "query as text")
    check_refused(cluster.start_ctl("query", "-t", topic, "--partition", 2), 10, "partitions 0 to 1")
    check_refused(cluster.start_ctl("query", "-t", "nothing"), 10, "nothing")
    _wrong(cluster, "query", pattern="--topic")
    _wrong(cluster, "query", "-t", topic, "--from", "-1", pattern="--from")


def check_flag_query_at(cluster):
    """A follower that gets no records holds less than the owner; without followers nothing is committed."""
    topic = cluster.create_topic("at")
    owner = cluster.owner(topic)
    behind, other = (broker for broker in cluster.brokers if broker is not owner)
    cluster.network.lose(behind.number, FRAMES)
    cluster.ctl("append", "-t", topic, "-c", "committed")
    cluster.network.lose(other.number, FRAMES)
    cluster.producer(topic, "--message", "owner's", "--acks", "owner").succeed(10)
    check_equal(
        [(each["value"], each["committed"]) for each in _query(cluster, topic)],
        [("committed", True), ("owner's", False)],
        "value and committed, asked of the owner",
    )
    check(" UNCOMMITTED owner's\n" in cluster.ctl("query", "-t", topic), "query does not tell what is not committed")
    for name in (behind.name, behind.address, behind.id):
        check_equal(_query(cluster, topic, "--at", name), [], f"query --at {name}, which lost the records")
    check_equal(_values(_query(cluster, topic, "--at", other.name)), ["committed"], f"query --at {other}")
    check_refused(cluster.start_ctl("query", "-t", topic, "--at", "n9"), 10, "n9")
    cluster.network.heal()
    cluster.wait_until(
        lambda: [each["committed"] for each in _query(cluster, topic, "--at", behind.name)] == [True, True],
        20,
        "the follower catches up after the loss",
    )


def check_flag_verify(cluster):
    """A replica whose bytes changed on disk is told, with exit code 1."""
    topic = cluster.create_topic("verified")
    cluster.producer(topic, "--file", cluster.run.write("verified.in", cluster.run.numbered_lines(50))).succeed(20)

    def streams():
        report = _json(cluster, "verify", seconds=60)
        check_equal(report["ok"], True, "verify --json, ok")
        members = next(each for each in report["streams"] if each["topic"] == topic)["members"]
        return all(each["high_watermark"] == 50 for each in members) and members, str(members)

    members = cluster.wait_until(streams, 10, "all know that 50 records are committed")
    for field, number in (("checksum", 1), ("name", 3)):
        check_equal(len({each[field] for each in members}), number, f"different values of {field}")
    check_equal([each["log_start"] for each in members], [0] * 3, "log starts")
    said = cluster.ctl("verify", seconds=60)
    check(re.search(rf"(?m)^{topic}/0 +n1 +0 +50 +50 .* ok$", said), f"verify says of {topic}: {said}")
    check(said.endswith("streams on 3 members agree\n"), f"verify ends with {said.splitlines()[-1]}")

    victim = next(broker for broker in cluster.brokers if broker is not cluster.owner(topic))
    text = cluster.run.numbered_lines(50)[30]

    def change():
        changed = 0
        for path in glob.glob(os.path.join(victim.data, "**", "*.log"), recursive=True):
            with open(path, "r+b") as file:
                at = file.read().find(text)
                if at >= 0:
                    file.seek(at)
                    file.write(bytes([text[0] ^ 1]))
                    changed += 1
        return changed

    check_equal(change(), 1, f"files of {victim} that hold the record")
    process = cluster.start_ctl("verify")
    check_refused(process, 60, "1 of [0-9]+ streams differ")
    wrong = [line for line in process.output().decode().splitlines() if line.startswith(f"{topic}/0")]
    check_equal([line.split()[-1] for line in wrong], ["DIFFERS"] * 3, f"verify of the damaged {topic}: {wrong}")
    cluster.wait_until(lambda: change() == 1, 20, f"{victim} has repaired what verify found")
    process = cluster.start_ctl("verify", "--json")
    check_refused(process, 60, "differ")
    check_equal(json.loads(process.output())["ok"], False, "verify --json, ok")
    cluster.ctl("topics", "delete", topic)


def check_flag_status(cluster):
    leader = cluster.leader()
    for asked in cluster.brokers:
        told = _json(cluster, "status", brokers=[asked])
        check_equal((told["node"], told["leader"], told["quorum"]), (asked.id, leader.id, True), "node, leader, quorum")
        for member in told["members"]:
            wrong = {"id", "name", "address", "role", "phi", "lag_records", "disk", "reachable"} - member.keys()
            check(not wrong, f"status --json does not tell {wrong} of a member")
    check_equal(_json(cluster, "status", brokers=None)["node"], leader.id, "who is asked when none is named")
    rows = _rows(cluster.ctl("status", brokers=[leader]))
    view = str(told["view"])
    for row in (["leader", leader.name], ["quorum", "yes"], ["view", view], ["told", "by", leader.address]):
        check(row in rows, f"status has no line {row}: {rows}")
    check_equal(
        sorted(row[:3] for row in rows[-3:]),
        sorted([each.name, each.address, "leader" if each is leader else "follower"] for each in cluster.brokers),
        "name, address and role",
    )


def check_flag_groups_reset(cluster):
    topic = cluster.create_topic("rewound", partitions=2)
    for partition in range(2):
        cluster.producer(topic, "--message", "x", "--count", 10, "--partition", partition).succeed(20)
    cluster.read(topic, "--group", "again")

    def reset(*words):
        told = _json(cluster, "groups", "reset", "again", *words)
        return told["changed"], [(each["partition"], each["from"], each["to"]) for each in told["partitions"]]

    check_equal(reset("--to", "earliest"), (False, [(0, 10, 0), (1, 10, 0)]), "groups reset without --yes")
    check_equal(cluster.read(topic, "--group", "again"), [], "what the group reads after it")
    check_equal(reset("--to", "-3", "--yes"), (True, [(0, 10, 7), (1, 10, 7)]), "groups reset --to -3 --yes")
    check_equal(len(cluster.read(topic, "--group", "again")), 6, "records that the group reads then")
    one = ["--topic", topic, "--partition", 1]
    check_equal(reset("--to", 4, *one, "--yes"), (True, [(1, 10, 4)]), "groups reset of a partition")
    check_equal(len(cluster.read(topic, "--group", "again")), 6, "records that the group reads then")
    check_equal(reset("--to", "@-1h", "--yes"), (True, [(0, 10, 0), (1, 10, 0)]), "groups reset --to @-1h")
    check_equal(reset("--to", "latest", "--yes"), (True, [(0, 0, 10), (1, 0, 10)]), "groups reset --to latest")
    table = cluster.ctl("groups", "reset", "again", "--to", 1000)
    check_equal(_rows(table)[1], [topic, "0", "10", "10"], "a row of groups reset beyond the end")
    check("nothing was changed" in table, f"groups reset does not say that it changed nothing: {table}")
    other = cluster.create_topic("not-read-yet")
    check_equal(reset("--to", "latest", "--topic", other), (False, [(0, None, 0)]), "of a topic not read yet")
    member = cluster.consumer(topic, "--group", "again", "--follow")
    cluster.wait_until(
        lambda: _json(cluster, "groups", "describe", "again")["members"], 20, "the consumer is a member of its group"
    )
    check_refused(cluster.start_ctl("groups", "reset", "again", "--to", "earliest", "--yes"), 20, "has members")
    member.kill()
    check_refused(cluster.start_ctl("groups", "reset", "nobody", "--to", "earliest"), 20, "there is no group 'nobody'")
    for words in (["describe", "agian"], ["delete", "agian"], ["reset", "agian", "--to", "latest"]):
        misspelt = cluster.start_ctl("groups", *words)
        check_refused(misspelt, 20, "there is no group 'agian'.*; did you mean 'again'")
        check_equal(misspelt.output(), b"", f"what groups {words[0]} prints")
    _wrong(cluster, "groups", "reset", "again", pattern="--to")
    _wrong(cluster, "groups", "reset", "again", "--to", "noon", pattern="earliest, latest, an offset")


def check_flag_status_of_lost_members(cluster):
    """Who left the view, and who is missing for a quorum, is named with what to do."""
    small = cluster.run.cluster(3, name="lost").start()
    leader = small.leader()
    first, last = (broker for broker in small.brokers if broker is not leader)
    first.kill()
    small.wait_for_view()
    said = small.ctl("status")
    check(re.search(rf"^GONE  {first.name} \({first.address}\) left the view at .*: start its broker", said, re.M), said)
    check("UNREACHABLE" not in said, f"somebody lacks for a quorum: {said}")
    leader.kill()
    small.wait_until(lambda: not (last.status() or {"quorum": True})["quorum"], 20, "no quorum")
    said = small.ctl("status", brokers=[last])
    check(re.search(r"^quorum   NO: view \d+ has 1 of 2 members in reach$", said, re.M), said)
    check(re.search(rf"^UNREACHABLE  {leader.name}: start these brokers", said, re.M), said)
    wrong = small.start_ctl("status", "--cluster", "other", brokers=[last])
    check_refused(wrong, 20, "is its cluster called 'other'")
    last.kill()


def check_flag_status_watch(cluster):
    process = cluster.start_ctl("status", "--watch", "--interval", "100", "--json")
    cluster.wait_until(lambda: process.output().count(b"\n") >= 3, 20, "three lines of status --watch --json")
    process.kill()
    for line in process.output().splitlines()[:3]:
        check_equal(len(json.loads(line)["members"]), 3, "members in a line of status --watch --json")
    _wrong(cluster, "status", "--interval", "100", pattern="--watch")


def check_flag_views(cluster):
    before = cluster.wait_for_view()["view"]
    cluster.ctl("elect")
    cluster.wait_until(lambda: cluster.wait_for_view()["view"] > before, 20, "a new view after elect")
    newest = _json(cluster, "views")["views"][-1]
    check_equal(newest["view"], cluster.wait_for_view()["view"], "the newest view")
    check_equal(sorted(newest["members"]), sorted(broker.name for broker in cluster.brokers), "its members")
    check_equal(newest["leader"], cluster.leader().name, "its leader")
    check(newest["reason"], f"it does not say why: {newest}")
    for step in ("frozen_ms", "exchange_ms", "install_ms"):
        check(0 <= newest[step] < 5000, f"{step} is {newest[step]}")
    check(abs(newest["since_ms"] / 1000 - time.time()) < 60, f"it is of {newest['since_ms']}")
    rows = _rows(cluster.ctl("views"))
    check_equal((rows[0][0], rows[-1][0]), ("VIEW", str(newest["view"])), "the table")


def check_flag_elect_and_json(cluster):
    view = cluster.wait_for_view()["view"]
    check_equal(_json(cluster, "elect"), {"done": "elect", "message": "election started"}, "elect --json")
    cluster.wait_until(lambda: cluster.wait_for_view()["view"] > view, 20, "a new view after elect")
    check_refused(cluster.start_ctl("remove", "n9"), 10, "n9", "n1 ")
    check_refused(cluster.start_ctl("drain", "n9"), 10, "n9", "n1 ")
    check_refused(cluster.start_ctl("remove", cluster.leader().name), 10, "leader")
    back = next(broker for broker in cluster.brokers if broker is not cluster.leader())
    check_equal(_json(cluster, "remove", back.address)["done"], "remove", "remove --json")
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not back])
    back.stop()
    back.start()
    cluster.wait_for_view(cluster.brokers)
    check_equal(_json(cluster, "drain", back.id)["done"], "drain", "drain --json")
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not back])
    back.stop()
    back.start()
    cluster.wait_for_view(cluster.brokers)


def check_flag_help_and_wrong_usage(cluster):
    for words, flags in (
        ([], ["--brokers", "--cluster", "--broadcast-port", "--interface", "--verbose", "--json", "Examples:"]),
        (["topics", "create"], ["--partitions", "--retention-ms", "--retention-bytes", "--compact"]),
        (["append"], ["--topic", "--content", "--key", "--partition", "--timeout"]),
        (["query"], ["--topic", "--partition", "--from", "--count", "--at"]),
        (["merge"], ["--from", "--keep"]),
        (["recover"], ["--yes"]),
    ):
        said = cluster.ctl(*words, "--help")
        for flag in flags:
            check(flag in said, f"logstreamctl {' '.join(words)} --help does not tell of {flag}")
    for words, own, foreign in (
        (["topics"], "logstreamctl topics alter app", "logstreamctl status"),
        (["topics", "create"], "logstreamctl topics create app --partitions 4", "logstreamctl topics alter"),
        (["groups", "reset"], "logstreamctl groups reset index --to", "logstreamctl topics"),
        (["recover"], "logstreamctl recover 10", "logstreamctl merge"),
    ):
        said = cluster.ctl(*words, "--help")
        check(own in said and foreign not in said, f"examples of logstreamctl {' '.join(words)} --help: {said}")
        check("--brokers" in said, f"logstreamctl {' '.join(words)} --help does not tell of the flags of all")
    _wrong(cluster, pattern="Try logstreamctl --help")
    _wrong(cluster, "topics", "create", pattern="Try logstreamctl topics create --help")
    _wrong(cluster, pattern="subcommand")
    _wrong(cluster, "statsu", pattern="there is no subcommand 'statsu'; did you mean 'status'")
    _wrong(cluster, "topics", "create", "--partitoins", "3", pattern="did you mean '--partitions'")
    _wrong(cluster, "status", "--nonsense", pattern="--nonsense")
    _wrong(cluster, "merge", pattern="--from")
    _wrong(cluster, "recover", pattern="survivors")
    _wrong(cluster, "remove", pattern="node")
    _wrong(cluster, "drain", pattern="node")
