"""How far a cluster of five goes: it loses three one after another and goes on; three at once, and it stops and says
why; they come back, and it goes on."""

from checks import Stopwatch, check
from client import Load, check_refused, read_history
from scenario import scenario


@scenario("survivors")
def survivors(run):
    cluster = run.cluster(5).start()
    cluster.create_topic("one-by-one")
    load = Load(cluster, "one-by-one")
    load.reach(0.2)
    left = list(cluster.brokers)
    for number in range(3):
        victim = run.random.choice(left)
        left.remove(victim)
        victim.kill()
        cluster.wait_for_view(left)
        load.reach(0.3 + 0.1 * number)
    gap = load.finish()
    for broker in cluster.brokers:
        if broker not in left:
            broker.start()
    cluster.wait_for_view(cluster.brokers)
    cluster.verify()

    cluster.create_topic("at-once")
    load = Load(cluster, "at-once")
    load.reach(0.3)
    left = list(cluster.brokers)
    lost = run.random.sample(left, 3)
    left = [broker for broker in left if broker not in lost]
    for victim in lost:
        victim.signal_kill()
    for broker in left:
        cluster.wait_until(
            lambda broker=broker: broker.status() and not broker.status()["quorum"], 20, f"{broker} lacks a quorum"
        )
    refused = cluster.producer("at-once", "--message", "x", "--timeout", 0, brokers=left)
    check_refused(refused, 10, r"no quorum: view \d+ has 2 of 5 members in reach")
    served = read_history(cluster, "at-once", brokers=left)
    check(served == load.lines[: len(served)] and served, f"without quorum {len(served)} records are served, or others")
    watch = Stopwatch()
    for victim in lost:
        victim.start()
    cluster.wait_for_view(cluster.brokers)
    back = watch.seconds
    load.finish()
    cluster.verify()
    return f"five lost three one after another: write gap {gap:.0f} ms; three at once: refused, one view {back:.2f} s after they came back"
