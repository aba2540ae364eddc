"""A named producer that is killed again and again, and goes on after the last record that is there."""

from checks import check_equal
from client import compare_lines
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
