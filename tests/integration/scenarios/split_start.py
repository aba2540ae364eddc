"""Brokers that start at the same time, or nearly, end in one cluster."""

from checks import Stopwatch
from scenario import scenario

LARGEST = 7
# Seconds within which all start: at once, within a round of JOINs, around the time after which one begins alone.
SPREADS = [0, 0.1, 1.6]


@scenario("split-start")
def split_start(run):
    network = run.network(LARGEST)
    slowest = 0
    for round_ in range(run.rounds):
        size, spread = 2 + round_ % (LARGEST - 1), SPREADS[round_ % len(SPREADS)]
        cluster = run.cluster(size, network, name=f"split-{round_}")
        starts = sorted(
            ((run.random.uniform(0, spread), broker) for broker in cluster.brokers), key=lambda start: start[0]
        )
        watch = Stopwatch()
        for moment, broker in starts:
            cluster.wait_until(lambda moment=moment: watch.seconds >= moment, spread + 1, "the next start")
            broker.start()
        began = Stopwatch()
        cluster.wait_for_view(seconds=30)
        slowest = max(slowest, began.seconds)
        for broker in cluster.brokers:
            broker.kill()
    return (
        f"{run.rounds} starts of 2 to {LARGEST} brokers, one cluster each time, "
        f"at the latest {slowest:.2f} s after the last start"
    )
