"""A named producer that is killed again and again, and goes on after the last record that is there."""

from checks import check, check_equal
from client import check_refused, compare_lines
from scenario import scenario

KILLS = 10


@scenario("resume")
def resume(run):
    cluster = run.cluster(3).start()
    topic = cluster.create_topic("resume")
    lines = run.numbered_lines(20_000)
    path = run.write("resume.in", lines)
    flags = ["--file", path, "--name", "tail", "--resume", "--rate", 8000]
    reader = cluster.consumer(topic, "--follow", "--count", len(lines))
    kills = 0
    for number in range(1, KILLS + 1):
        producer = cluster.producer(topic, *flags)
        goal = int(number * len(lines) / (KILLS + 2))
        cluster.wait_until(
            lambda goal=goal: (reader.line_count() >= goal, f"{reader.line_count()} read; {producer.last_words()}"),
            30,
            f"{goal} records are read",
        )
        producer.kill()
        kills += 1
    cluster.producer(topic, *flags).succeed(60)
    reader.succeed(30)
    compare_lines(reader.lines(), lines, "read meanwhile")
    compare_lines(cluster.read(topic), lines, "read again")
    check_equal(kills, KILLS, "kills")
    return f"{len(lines)} lines, each once, by a producer that was killed {kills} times"


@scenario("resume-rotated")
def resume_rotated(run):
    """The file under the same path is another one: nothing of it is taken for what was sent, and nothing is sent."""
    cluster = run.cluster(1).start()
    topic = cluster.create_topic("rotated", partitions=2)
    monday = run.numbered_lines(100, "monday ")
    flags = ["--name", "ship", "--resume"]

    def ship(lines, *more):
        return cluster.producer(topic, "--file", run.write("app.log", lines), *flags, *more)

    ship(monday[:60]).succeed(20)
    ship(monday).succeed(20)  # it grew
    ship(monday).succeed(20)
    for name, lines, words in (
        ("shorter", run.numbered_lines(60, "tuesday "), "has 30 lines .*cluster has 50"),
        ("cut", monday[:70], "has 35 lines .*cluster has 50"),
        ("longer", run.numbered_lines(160, "tuesday "), "are not those that the cluster has from 'ship'"),
        ("changed in the middle", [*monday[:40], b"edited", *monday[41:]], "are not those"),
        ("a line less at its begin", [*monday[1:], b"more"], "are not those"),
    ):
        refused = ship(lines)
        check_refused(refused, 20, words)
        check("without --resume" in refused.errors(), f"{name}: it does not say what to do: {refused.errors()}")
    check_equal(sorted(cluster.read(topic)), monday, "records after the refusals")

    tuesday = run.numbered_lines(60, "tuesday ")
    path = run.write("app.log", tuesday)
    cluster.producer(topic, "--file", path, "--name", "ship").succeed(20)  # as a new file
    more = [*tuesday, *run.numbered_lines(5, "evening ")]
    ship(more).succeed(20)
    edited = [*more[:-1], b"edited", b"last"]
    check_refused(ship(edited), 20, "--same-file")
    ship(edited, "--same-file").succeed(20)
    check_equal(sorted(cluster.read(topic)), sorted([*monday, *more, b"last"]), "records in the end")
    return "another file of the same path was refused five times, and sent once it was said to be new"
