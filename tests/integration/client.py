"""Producers and consumers of a scenario, loads of numbered lines, and comparing what came out with what went in."""

import re

from checks import Failure, check, check_equal, wait_until

SUMMARY = re.compile(
    r"producer: (?P<records>\d+) records, (?P<bytes>\d+) bytes in (?P<seconds>[\d.]+) s: .*"
    r"latency p50 (?P<p50>[\d.]+) ms, p99 (?P<p99>[\d.]+) ms, max (?P<max>[\d.]+) ms(?P<rest>.*)"
)


class Producer:
    """A producer process and its summary."""

    def __init__(self, process):
        self.process = process

    def __getattr__(self, name):
        return getattr(self.process, name)

    def summary(self):
        found = SUMMARY.search(self.process.errors())
        if not found:
            raise Failure(f"{self.process.name} printed no summary: {self.process.last_words()}")
        return found

    @property
    def records(self):
        return int(self.summary()["records"])

    @property
    def longest_ms(self):
        """The longest that a record waited for its acknowledgement: under a steady load, how long writes stood still."""
        return float(self.summary()["max"])

    def succeed(self, seconds):
        self.process.succeed(seconds)
        return self


def compare_lines(found, expected, what):
    """Complete, in order, nothing twice."""
    if found == expected:
        return
    at = next((i for i, (a, b) in enumerate(zip(found, expected)) if a != b), min(len(found), len(expected)))
    there, wanted = set(found), set(expected)

    def at_line(lines):
        return lines[at][:60] if at < len(lines) else "the end"

    raise Failure(
        f"{what}: {len(found)} records in place of {len(expected)}; {len(wanted - there)} are missing, "
        f"{len(found) - len(there)} come twice, {len(there - wanted)} are foreign; first difference at record {at}: "
        f"expected {at_line(expected)!r}, found {at_line(found)!r}"
    )


class Load:
    """Numbered lines of a real log, sent at a rate and read as they come, while something happens to the cluster."""

    RATE = 400  # records per second

    def __init__(self, cluster, topic, name="load", seconds=None, rate=RATE, **where):
        self.cluster, self.topic = cluster, topic
        self.lines = cluster.run.numbered_lines(int((seconds or cluster.run.load_seconds()) * rate), f"{name} ")
        path = cluster.run.write(f"{name}.in", self.lines)
        self.producer = cluster.producer(topic, "--file", path, "--rate", rate, **where)
        self.consumer = cluster.consumer(topic, "--follow", "--count", len(self.lines), **where)

    def reach(self, fraction):
        """Waits until so much of it has come out."""
        goal = max(1, int(fraction * len(self.lines)))

        def read():
            lines = self.consumer.line_count()
            return (
                lines >= goal,
                f"{lines} records; producer: {self.producer.last_words()}; consumer: {self.consumer.last_words()}",
            )

        self.cluster.wait_until(
            read, 30 + 2 * self.cluster.run.load_seconds(), f"{goal} records of {self.topic} are read"
        )

    def reach_random_moment(self):
        """A moment between 20% and 80% of it."""
        fraction = self.cluster.run.random.uniform(0.2, 0.8)
        self.reach(fraction)
        return fraction

    def finish(self, seconds=60):
        """Ends the load: everything acknowledged, everything read, by the consumer that went through it and by a new
        one. Returns the longest wait for an acknowledgement, in ms."""
        self.producer.succeed(seconds + self.cluster.run.load_seconds())
        check_equal(self.producer.records, len(self.lines), "records that the producer counts as acknowledged")
        self.consumer.succeed(30)
        compare_lines(self.consumer.lines(), self.lines, f"{self.topic}, read meanwhile")
        compare_lines(self.cluster.read(self.topic), self.lines, f"{self.topic}, read again")
        return self.producer.longest_ms


def wait_for_lines(consumer, count, seconds):
    def read():
        lines = consumer.line_count()
        return lines >= count, f"{lines} lines; {consumer.last_words()}"

    wait_until(read, seconds, f"{consumer.name} prints {count} lines")
    return consumer.lines()


def check_refused(process, seconds, *patterns):
    """The program must end with exit code 1 and say why: each pattern is found on stderr."""
    code = process.wait(seconds)
    said = process.errors()
    check(code == 1, f"{process.name}: expected exit code 1, found {code}; it says: {said.strip()[-300:]}")
    for pattern in patterns:
        check(re.search(pattern, said), f"{process.name}: expected {pattern!r} on stderr, found: {said.strip()[-300:]}")


def read_history(cluster, topic, **where):
    """What brokers without a quorum serve of a topic: its lines. The consumer must say that there may be more."""
    consumer = cluster.consumer(topic, **where)
    check_refused(consumer, 30, "the newest records may be missing", "there may be more: no quorum")
    return consumer.lines()
