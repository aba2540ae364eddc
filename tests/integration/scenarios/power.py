"""The machines lose their power: what was acknowledged is there when they are back."""

from checks import Stopwatch, check
from client import Load
from faults import Machine, cut_power
from scenario import scenario

ROUNDS = 4
FLUSH_US = 20_000  # long enough that a power cut finds much that is written and not flushed


@scenario("power-cut")
def power_cut(run):
    """All machines at once, again and again under load. In the first round nothing that was not flushed survives, then a
    part of it does, in any order, torn between sectors."""
    cluster = run.cluster(3)
    machines = [Machine(broker) for broker in cluster.brokers]
    for machine in machines:
        machine.control.flush_delay_us = FLUSH_US
    cluster.start()
    loads = []
    for broker in cluster.brokers:
        topic, _ = cluster.topic_owned_by(lambda owner, wanted=broker: owner is wanted, prefix=broker.name)
        loads.append(Load(cluster, topic, name=topic, seconds=2 * run.load_seconds()))
    rounds = 4 * ROUNDS if run.long else ROUNDS
    lost, back = 0, []
    for number in range(rounds):
        # A moment in this round's share of the load.
        run.random.choice(loads).reach((number + run.random.uniform(0.1, 0.9)) / rounds)
        lost += cut_power(machines, run.random if number else None)
        watch = Stopwatch()
        for broker in cluster.brokers:
            broker.start()
        cluster.wait_for_view()
        back.append(watch.seconds)
    gap = max(load.finish() for load in loads)
    check(lost > 0, "no power cut lost anything: the disks were not put to the test")
    cluster.verify()
    return (
        f"{rounds} power cuts of all machines took {lost >> 10} KiB that were not flushed and none of "
        f"{sum(len(load.lines) for load in loads)} records; one view {max(back):.2f} s after the start or sooner, longest "
        f"wait {gap:.0f} ms"
    )
