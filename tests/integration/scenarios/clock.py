"""Producers whose clocks are a day wrong: timestamps inform people; no order rests on them, and no retention."""

import time

import wire
from checks import check, check_equal
from client import compare_lines
from faults import wrong_clock
from scenario import Need, scenario

DAY_SECONDS = 86_400
CLOCKS = {"right": 0, "ahead": DAY_SECONDS, "behind": -DAY_SECONDS}
OFF_SECONDS = 60  # that a clock which is right, or wrong by a day, may seem to be off by
LINES = 2000
BATCH_BYTES = 4096  # so that a search by time, which finds batches, has some to choose from
SMALL_SEGMENTS = {"storage.segment_bytes": "64KiB", "limits.batch_bytes": "64KiB", "limits.record_bytes": "32KiB"}
RETENTION_MS = 3_600_000
RETENTION_SECONDS = 30  # within which a broker has dropped what is too old


@scenario("wrong-clock", Need.FILES)
def producers_with_wrong_clocks(run):
    """Accepted and in order, found by time; retention goes by the time of the append, whatever the records say."""
    cluster = run.cluster(3, **SMALL_SEGMENTS).start()
    lines = {clock: run.numbered_lines(LINES, f"{clock} ") for clock in CLOCKS}
    for topic in ("behind-first", "ahead-first"):
        cluster.ctl("topics", "create", topic, "--retention-ms", RETENTION_MS)
    cluster.ctl("topics", "create", "short", "--retention-ms", 1000)
    cluster.create_topic("mixed")

    def producer(topic, clock):
        path = run.write(f"{clock}.in", lines[clock])
        environment = wrong_clock(run, CLOCKS[clock])
        return cluster.producer(topic, "--file", path, "--batch-bytes", BATCH_BYTES, environment=environment)

    for first, second in (("behind", "ahead"), ("ahead", "behind")):
        for clock in (first, second, "right"):
            producer(f"{first}-first", clock).succeed(20)
    for each in [producer("mixed", clock) for clock in CLOCKS]:
        each.succeed(20)
    for clock in CLOCKS:
        producer("short", clock).succeed(20)

    searches = _check_timestamps(cluster, "mixed", lines)
    _check_retention(cluster, lines)
    cluster.verify()
    return (
        f"{12 * LINES} records of clocks that are right, a day ahead and a day behind: accepted, in order; {searches} "
        f"searches by time agree with the records; retention dropped what was appended long ago and nothing else"
    )


def _check_timestamps(cluster, topic, lines):
    """Each record carries its producer's time, and a search finds the batch with the first one that is not older."""
    found = [line.split(b" ", 2) for line in cluster.read(topic, "--format", "%o %T %v")]
    for clock, offset_seconds in CLOCKS.items():
        mine = [(int(stamp), value) for _, stamp, value in found if value.startswith(clock.encode())]
        compare_lines([value for _, value in mine], lines[clock], f"records of the producer whose clock is {clock}")
        wrong = max(abs(stamp / 1000 - time.time() - offset_seconds) for stamp, _ in mine)
        check(wrong < OFF_SECONDS, f"timestamps of the clock that is {clock} are off by {wrong:.0f} s")
    check_equal(len(found), len(CLOCKS) * LINES, f"records of {topic}")

    stamps = [int(stamp) for _, stamp, _ in found]
    random, owner = cluster.run.random, cluster.owner(topic)
    wanted = [0, min(stamps), max(stamps), max(stamps) + 1, int(time.time() * 1000)]
    wanted += [stamp + random.randrange(-2, 3) for stamp in random.sample(stamps, 20)]
    for moment in wanted:
        first = next((offset for offset, stamp in enumerate(stamps) if stamp >= moment), len(stamps))
        at = _offsets(owner, topic, moment).offset
        between = sum(len(value) for _, _, value in found[at:first])
        check(at <= first and between < BATCH_BYTES, f"first record from {moment} ms on: expected {first}, found {at}")
    return len(wanted)


def _check_retention(cluster, lines):
    """By the time of their append all records are young: nothing is dropped of the topics that keep them for an hour,
    everything of the one that keeps them for a second."""

    def gone():
        ends = [(found.log_start, found.high_watermark) for found in (_offsets(b, "short", -1) for b in cluster.brokers)]
        return all(start == end == 3 * LINES for start, end in ends), str(ends)

    cluster.wait_until(gone, RETENTION_SECONDS, "all brokers have dropped what is older than a second")
    for first, second in (("behind", "ahead"), ("ahead", "behind")):
        expected = [*lines[first], *lines[second], *lines["right"]]
        compare_lines(cluster.read(f"{first}-first"), expected, f"{first}-first, after retention")


def _offsets(broker, topic, timestamp_ms):
    """Log start, high watermark and the first offset from a time on, as this replica has them."""
    metadata, list_offsets = wire.protobuf("Metadata"), wire.protobuf("ListOffsets")
    metadata.topics.append(topic)
    known = broker.ask("METADATA", metadata).parse()
    list_offsets.cluster_id, list_offsets.topic = known.cluster_id, known.topics[0].topic
    list_offsets.timestamp_ms, list_offsets.any_replica = timestamp_ms, True
    answer = broker.ask("LIST_OFFSETS", list_offsets).parse()
    check(not answer.error.code, f"{broker} does not tell the offsets of {topic}: {answer.error.message}")
    return answer
