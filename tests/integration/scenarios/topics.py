"""A topic that is written to for the first time is made once, whoever asks whom at the same time."""

from checks import check_equal
from client import compare_lines
from scenario import scenario

TOPICS, PRODUCERS = 24, 3


@scenario("topics")
def topics(run):
    cluster = run.cluster(3).start()
    for number in range(TOPICS):
        name = f"new-{number}"
        # Each asks all brokers at once; the topic is made by the first that the leader hears.
        count = PRODUCERS if number % 2 else 1
        producers = [cluster.producer(name, "--message", str(each)) for each in range(count)]
        for producer in producers:
            producer.succeed(20)
        compare_lines(
            sorted(cluster.read(name)),
            [str(each).encode() for each in range(count)],
            f"the first records of {name}, sorted",
        )
    for broker in cluster.brokers:
        check_equal(broker.status()["topics"], TOPICS, f"topics that {broker} knows")
    cluster.verify()
    return f"{TOPICS} topics, each made once by up to {PRODUCERS} producers that ask 3 brokers at a time"
