"""The machines lose their power: what was acknowledged is there when they are back."""

from checks import Stopwatch, check
from client import Load
from faults import Machine, cut_power
from scenario import Need, scenario

ROUNDS = 4
FLUSH_US = 20_000  # long enough that a power cut finds much that is written and not flushed
# Files come and go, too.
SMALL_SEGMENTS = {"storage.segment_bytes": "64KiB", "limits.batch_bytes": "64KiB", "limits.record_bytes": "32KiB"}


@scenario("power-cut", Need.FILES)
def power_cut(run):
    """All machines at once, again and again under load. In the first round nothing that was not flushed survives, then
    a part of it does, in any order, torn between sectors."""
    cluster = run.cluster(3, **SMALL_SEGMENTS)
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
    for machine in machines:
        machine.broker.stop()
        machine.check_journal()
    return (
        f"{rounds} power cuts of all machines took {lost >> 10} KiB that were not flushed and none of "
        f"{sum(len(load.lines) for load in loads)} records; one view {max(back):.2f} s after the start or sooner, "
        f"longest wait {gap:.0f} ms"
    )


@scenario("power-cut-unflushed", Need.FILES)
def power_cut_unflushed(run):
    """storage.fsync: never, and one machine loses its power with the owner of the topic: the broker says what may be
    missing, and has no vote until the others have taught it."""
    cluster = run.cluster(3, **{"storage.fsync": "never"})
    machines = [Machine(broker) for broker in cluster.brokers]
    cluster.start()
    for broker in cluster.brokers:
        check(
            broker.log_matches(r" W STORAGE storage\.fsync is never: .* are lost"),
            f"{broker} does not say at its start what fsync: never means",
        )
    topic, victim = cluster.topic_owned_by(lambda broker: broker is not cluster.leader())
    others = [broker for broker in cluster.brokers if broker is not victim]
    load = Load(cluster, topic)
    moment = load.reach_random_moment()
    there = sum(map(len, load.consumer.lines()))
    lost = cut_power([machine for machine in machines if machine.broker is victim])
    check(lost > there, f"{victim} lost {lost} bytes of at least {there}: its disk was not put to the test")
    cluster.wait_for_view(others)
    watch = Stopwatch()
    victim.start()
    cluster.wait_for_view(cluster.brokers)
    back = watch.seconds
    check(
        victim.log_matches(r"STATE the machine went down uncleanly and records were acknowledged .*: some may be missing"),
        f"{victim} does not say what may be missing after its machine went down",
    )
    fetched = sum(map(int, victim.log_matches(r"LEARNER fetched_bytes=(\d+)")))
    check(fetched > there, f"{victim} lost {there} bytes of records, and was taught {fetched} before it was a member")
    gap = load.finish()
    cluster.verify()
    return (
        f"power cut of the owner at {moment:.0%} took {lost >> 10} KiB; it says so, was taught {fetched >> 10} KiB, is "
        f"a member {back:.2f} s after its start; write gap {gap:.0f} ms"
    )
