"""Two clusters of one name that were started apart: they stay apart until a person merges them."""

import json
import os
import signal
from collections import Counter

import wire
from checks import check, check_equal, wait_until
from client import check_refused, compare_lines, wait_for_lines
from scenario import Need, scenario

APART = "same name and its own records; the two stay separate: `logstreamctl merge --from"
FRAMES = "udp dport 9999 @th,104,8 4"  # of replication
SLOW = "limit rate over 400 kbytes/second burst 40 kbytes"  # of the way from the source to the one who merges


class Sides:
    """Brokers of one cluster that start in two parts that do not reach each other. Clients reach both."""

    def __init__(self, run, here, there, **settings):
        self.cluster = run.cluster(here + there, **settings)
        self.here, self.there = self.cluster.brokers[:here], self.cluster.brokers[here:]
        for broker in self.there:
            self.cluster.network.cut(broker.number, [each.number for each in self.here])
        for broker in self.cluster.brokers:
            broker.start()
        for side in (self.here, self.there):
            self.cluster.wait_for_view(side)

    def lineages(self):
        return [{broker.status()["cluster_id"] for broker in side} for side in (self.here, self.there)]

    def heal(self):
        """The network is whole, and both sides notice that they are two clusters."""
        self.cluster.network.heal()

        def all_say():
            statuses = [broker.status() or {} for broker in self.cluster.brokers]
            return all(APART in status.get("apart", "") for status in statuses), f"{statuses}"

        self.cluster.wait_until(all_say, 20, "all brokers say that there is another cluster")

    def merge(self, *flags, source=None):
        words = ["merge", "--from", ",".join(each.address for each in source or self.there), "--json", *flags]
        return self.cluster.start_ctl(*words, brokers=self.here)


@scenario("merge-empty", Need.HOSTS)
def merge_empty(run):
    """Of two clusters without user records one joins the other; so does the one without where the other has some."""
    neither = Sides(run, 2, 1, name="neither")
    neither.cluster.network.heal()
    neither.cluster.wait_for_view(neither.cluster.brokers)
    one = Sides(run, 1, 2, name="one")
    lines = run.numbered_lines(50)
    (kept,), _ = one.lineages()
    one.cluster.producer("kept", "--file", run.write("kept.in", lines), brokers=one.here).succeed(20)
    one.cluster.network.heal()
    status = one.cluster.wait_for_view(one.cluster.brokers)
    check_equal(status["cluster_id"], kept, "lineage that both are of, where one side has records")
    for broker in one.there:
        check(broker.log_matches("ClusterState .*starts afresh"), f"{broker} does not log that it starts afresh")
    compare_lines(one.cluster.read("kept"), lines, "the records of the side that has some")
    one.cluster.verify()
    return "two sides without records became one; a side without records joined the one that has some"


@scenario("merge", Need.HOSTS)
def merge(run):
    sides = Sides(run, 3, 2)
    ours, theirs = run.numbered_lines(300, "ours "), run.numbered_lines(20_000, "theirs ")
    for side, lines in ((sides.here, ours), (sides.there, theirs)):
        sides.cluster.producer("both", "--file", run.write("both.in", lines), brokers=side).succeed(30)
    parts = _parts(sides)
    _stay_apart(sides, ours, theirs)
    kills = _kill_in_the_middle(sides, ours, theirs)
    late = _merge_while_both_are_written(sides)
    compare_lines(sides.cluster.read("both"), ours + theirs, "the records of both sides")
    _check_parts(sides, parts)
    sides.cluster.verify()
    count = len(theirs) + len(parts) + 2 * NARROW + late
    return f"{kills} kills -9, {count} records of the other side are there once"


SHOWN = ["--format", "%p %k=%v at %T"]
NARROW = 40  # records in each of two partitions over there, which has one partition here


def _parts(sides):
    """Topics of several partitions on the other side, of which one is here with fewer; what shows of the first."""
    run, cluster = sides.cluster.run, sides.cluster
    cluster.ctl("topics", "create", "parts", "--partitions", 3, "--retention-ms", 86_400_000, brokers=sides.there)
    cluster.ctl("topics", "create", "narrow", "--partitions", 2, brokers=sides.there)
    cluster.ctl("topics", "create", "narrow", "--partitions", 1, brokers=sides.here)
    for topic, partitions, count in (("parts", 3, 100), ("narrow", 2, NARROW)):
        for part in range(partitions):
            path = run.write("parts.in", run.numbered_lines(count, f"{part}-"))
            flags = ["--file", path, "--partition", part, "--key-separator", " "]
            cluster.producer(topic, *flags, brokers=sides.there).succeed(20)
    parts = sorted(cluster.read("parts", *SHOWN, brokers=sides.there))
    check_equal(len(parts), 300, "records of three partitions")
    return parts


def _check_parts(sides, parts):
    cluster = sides.cluster
    check_equal(sorted(cluster.read("parts", *SHOWN)), parts, "partition, key, value and time of what was merged")
    topic = json.loads(cluster.ctl("topics", "describe", "parts", "--json"))
    check_equal((topic["partitions"], topic["retention_ms"]), (3, 86_400_000), "settings of a topic that was merged")
    keys = cluster.read("narrow", "--format", "%k")
    for part in range(2):
        expected = [b"%d-%07d" % (part, number) for number in range(1, NARROW + 1)]
        compare_lines([key for key in keys if key in expected], expected, f"partition {part} in one of fewer")


def _stay_apart(sides, ours, theirs):
    cluster, lineages = sides.cluster, sides.lineages()
    sides.heal()
    for side in (sides.here, sides.there):
        check(any(APART in broker.log() for broker in side), f"of {side} nobody logs that there is another cluster")
        told = cluster.ctl("status", brokers=side)
        check("APART" in told and "logstreamctl merge --from" in told, f"status does not tell it: {told}")
    check_refused(cluster.producer("both", "--message", "x", "--timeout", 0, brokers=None), 15, "logstreamctl merge")
    here = cluster.start_ctl("merge", "--from", sides.here[1].address, brokers=sides.here)
    check_refused(here, 15, "nothing to merge")
    for side, lines in ((sides.here, ours), (sides.there, theirs)):
        cluster.wait_for_view(side)
        compare_lines(cluster.read("both", brokers=side), lines, f"what {side} serves, apart")
    check_equal(sides.lineages(), lineages, "lineages after the heal")


def _kill_in_the_middle(sides, ours, theirs):
    """kill -9 of the merge, on a slow way so that there is a middle: after the first batch, and in each run a later
    one. In one more run, of the broker that orders what is appended."""
    cluster, network = sides.cluster, sides.cluster.network
    owner = cluster.by_id(json.loads(cluster.ctl("ring", "both", "--json", brokers=sides.here))["owner"])
    for broker in sides.here:
        network.lose(broker.number, f"ip saddr {cluster.client_place.ip} {SLOW}")
    reader = cluster.consumer("both", "--follow", brokers=sides.here)
    wait_for_lines(reader, len(ours), 20)
    victims = []
    for share in (0.01, 0.2, 0.4, 0.6):
        goal = len(ours) + int(share * len(theirs))
        process = sides.merge("--keep")
        wait_until(lambda: reader.line_count() >= goal or not process.running, 30, f"{goal} records are there")
        check(process.running, f"the merge ended before the kill: {process.last_words()}")
        check(reader.line_count() < len(ours) + len(theirs), "all was copied before the kill")
        victims.append(process if len(victims) < 3 else owner)
        victims[-1].kill()
    network.heal()
    process.succeed(60)
    wait_for_lines(reader, len(ours) + len(theirs), 20)
    reader.kill()
    owner.start()
    cluster.wait_for_view(sides.here)
    return len(victims)


class Writer:
    """A producer of numbered lines to one side, which goes on until it is told to end."""

    def __init__(self, sides, side, name):
        run, self.name = sides.cluster.run, name
        self.lines = run.numbered_lines(60_000, f"{name} ")
        self._failed = os.path.join(run.folder, f"{name}.failed")
        path = run.write(f"{name}.in", self.lines)
        flags = ["--file", path, "--rate", 2000, "--timeout", 1000, "--failed", self._failed]
        self._producer = sides.cluster.producer("late", *flags, brokers=side)
        wait_for_lines(sides.cluster.consumer("late", "--follow", "--count", 500, brokers=side), 500, 20)

    def end(self):
        """The lines that were acknowledged; keeps all that were sent."""
        self._producer.send_signal(signal.SIGINT)
        self._producer.wait(30)
        failed = set()
        if os.path.exists(self._failed):
            with open(self._failed, "rb") as file:
                failed = set(file.read().split(b"\n")[:-1])
        self.lines = self.lines[: self._producer.records + len(failed)]
        return [line for line in self.lines if line not in failed]


def _merge_while_both_are_written(sides):
    """Both sides accept records until the other one's brokers join; those that were acknowledged are there, once."""
    cluster = sides.cluster
    writers = [Writer(sides, sides.here, "here"), Writer(sides, sides.there, "there")]
    told = json.loads(sides.merge().succeed(60).output())
    check(told["retired"] and told["records"] > 0, f"merge --json prints {told}")
    cluster.wait_for_view(cluster.brokers)
    for broker in cluster.brokers:
        check("apart" not in broker.status(), f"{broker} still says that it is apart: {broker.status().get('apart')}")
    acknowledged = [writer.end() for writer in writers]
    found = cluster.read("late")
    times = Counter(found)
    for writer, lines in zip(writers, acknowledged):
        lost = [line for line in lines if times[line] != 1]
        check(
            not lost,
            f"{len(lost)} of {len(lines)} acknowledged {writer.name} are not there once, first {lost[:1]} of "
            f"{lines[-1:]}",
        )
        sent = set(writer.lines)
        ordered = [line for line in found if line in sent]
        check(ordered == sorted(ordered), f"the records written {writer.name} are there in another order")
    more = [line for line, count in times.items() if count > 1]
    check(not more, f"{len(more)} records are there twice, first {more[:1]}")
    return len(acknowledged[1])


@scenario("merge-cut", Need.HOSTS)
def merge_cut(run):
    """A merge that ended between two brokers: told to the first that it is copied, not to the second."""
    sides = Sides(run, 3, 3)
    cluster = sides.cluster
    ours, theirs = run.numbered_lines(30, "ours "), run.numbered_lines(3000, "theirs ")
    for side, lines in ((sides.here, ours), (sides.there, theirs)):
        cluster.producer("both", "--file", run.write("both.in", lines), brokers=side).succeed(30)
    sides.heal()
    lineages = sides.lineages()
    told = json.loads(sides.merge("--keep").succeed(30).output())
    check_equal((told["retired"], told["records"]), (False, len(theirs)), "merge --keep: retired and records")
    check_equal(sides.lineages(), lineages, "lineages after merge --keep")
    # The next run finds where this one ended, however much was appended since.
    more = run.numbered_lines(6000, "more ")
    cluster.producer("both", "--file", run.write("more.in", more), brokers=sides.here).succeed(30)
    told = [_admin(broker, "SEAL") for broker in sides.there]
    for left in (2, 1):  # all of the old view but one are needed for its quorum
        retired = sides.there[:-left]
        told.append(_admin(retired[-1], "RETIRE"))
        check(not any(told), f"the brokers refuse: {told}")
        # They may be about to make a view without the one that has gone.
        check_refused(
            cluster.producer("both", "--message", "x", "--timeout", 0, brokers=sides.there[-left:]),
            10,
            "merged|quorum|changing",
        )
        cluster.wait_for_view([*sides.here, *retired])
    check_equal(json.loads(sides.merge(source=sides.there[-1:]).succeed(60).output())["retired"], True, "retired")
    cluster.wait_for_view(cluster.brokers)
    compare_lines(cluster.read("both"), ours + theirs + more, "the records of both sides")
    cluster.verify()
    return "--keep leaves both sides as they are; a merge that had told one of three brokers was ended by another run"


@scenario("merge-failover", Need.HOSTS)
def merge_failover(run):
    """kill -9 of the broker that is copied from: the merge goes on with those that are left of its view."""
    sides = Sides(run, 1, 3)
    cluster, (here,) = sides.cluster, sides.here
    ours, theirs = run.numbered_lines(30, "ours "), run.numbered_lines(10_000, "theirs ")
    for side, lines in ((sides.here, ours), (sides.there, theirs)):
        cluster.producer("both", "--file", run.write("both.in", lines), brokers=side).succeed(30)
    sides.heal()
    owner = cluster.by_id(json.loads(cluster.ctl("ring", "both", "--json", brokers=sides.there))["owner"])
    cluster.network.lose(here.number, f"ip saddr {cluster.client_place.ip} {SLOW}")
    reader = cluster.consumer("both", "--follow", brokers=sides.here)
    wait_for_lines(reader, len(ours), 20)
    process = sides.merge()
    wait_until(lambda: reader.line_count() > len(ours) or not process.running, 30, "the first records are there")
    check(process.running, f"the merge ended before the kill: {process.last_words()}")
    owner.kill()
    cluster.network.heal()
    told = json.loads(process.succeed(60).output())
    check_equal((told["retired"], told["records"]), (True, len(theirs)), "merge --json: retired and records")
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not owner])
    compare_lines(cluster.read("both"), ours + theirs, "the records of both sides")
    return f"{owner} of the other side was killed meanwhile; all {len(theirs)} of its records are there once"


@scenario("merge-uncommitted", Need.HOSTS)
def merge_uncommitted(run):
    """A record that the other side took, and can't commit when its brokers are told to take no more."""
    sides = Sides(run, 1, 3, **{"replication.slow_member_timeout": "60s"})
    cluster, there = sides.cluster, sides.there
    cluster.producer("kept", "--message", "ours", brokers=sides.here).succeed(20)
    cluster.producer("app", "--message", "committed", brokers=there).succeed(20)
    sides.heal()
    owner = cluster.by_id(json.loads(cluster.ctl("ring", "app", "--json", brokers=there))["owner"])
    for broker in there:
        if broker is not owner:
            cluster.network.lose(broker.number, FRAMES)
    producer = cluster.producer("app", "--message", "late", brokers=there)

    def taken():
        lines = cluster.ctl("query", "-t", "app", "--at", owner.name, brokers=there).splitlines()
        return [line.split()[2] for line in lines] == ["committed", "UNCOMMITTED"], f"{lines}"

    cluster.wait_until(taken, 20, "the owner holds a record that is not committed")
    process = sides.merge()
    process.wait_for_words("waiting for the other cluster to commit 1 records of app/0", 20)
    check("merged" in owner.status()["reason"], f"the owner is not sealed: {owner.status()}")
    check(process.running, f"the merge ended: {process.last_words()}")
    cluster.network.heal()
    producer.succeed(20)
    told = json.loads(process.succeed(30).output())
    check_equal((told["retired"], told["records"]), (True, 2), "merge --json: retired and records")
    cluster.wait_for_view(cluster.brokers)
    compare_lines(cluster.read("app"), [b"committed", b"late"], "the records of the other side")
    return "the merge waited until what the other side had taken was committed, and acknowledged, and copied it"


def _admin(broker, action):
    """Asks as logstreamctl does; the refusal."""
    request = wire.protobuf("Admin")
    request.action, request.cluster_id = request.Action.Value(action), int(broker.status()["cluster_id"], 16)
    return broker.ask("ADMIN", request).parse().error.message


@scenario("merge-restarted", Need.HOSTS)
def merge_restarted(run):
    """A broker that was sealed and restarted does not retire with what it took since; who is gone is forgotten."""
    sides = Sides(run, 1, 1)
    cluster, (other,) = sides.cluster, sides.there
    for side in (sides.here, sides.there):
        cluster.producer("app", "--message", "kept", brokers=side).succeed(20)
    sides.heal()
    sides.merge("--keep").succeed(30)
    check_equal(_admin(other, "SEAL"), "", "refusal of SEAL")
    other.kill()
    other.start()
    cluster.wait_for_view([other])
    taken = cluster.producer("app", "--message", "late", "--timeout", 0, brokers=[other]).wait(10) == 0
    check(not (taken and _admin(other, "RETIRE") == ""), "a broker took a record after SEAL and retires with it")
    other.kill()
    cluster.wait_until(lambda: "apart" not in sides.here[0].status(), 20, "status forgets a cluster that is gone")
    return "a broker that was restarted after SEAL does not retire with its records, and a cluster that is gone is forgotten"
