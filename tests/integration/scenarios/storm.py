"""One fault after the other under load, at random: kill, restart in order, pause, cut, cut of a link, loss."""

from collections import Counter

from checks import check
from client import Load
from scenario import Need, scenario

LOSS = "ip protocol udp numgen random mod 100 < 3"


@scenario("storm", Need.HOSTS)
def storm(run):
    cluster = run.cluster(3).start()
    faults = [_kill, _stop, _pause, _cut, _cut_link]
    loads = [Load(cluster, cluster.create_topic(f"storm-{n}"), name=f"storm-{n}", rate=200) for n in range(3)]
    for broker in cluster.brokers:
        cluster.network.lose(broker.number, LOSS)
    done = Counter()
    while any(load.producer.running for load in loads):
        fault, victim = run.random.choice(faults), run.random.choice(cluster.brokers)
        done[fault.__name__[1:]] += 1
        fault(run, cluster, victim)
        cluster.wait_for_view(cluster.brokers, seconds=40)
    cluster.network.heal()
    gap = max(load.finish() for load in loads)
    check(done, "the load was over before the first fault")
    cluster.verify()
    faults = ", ".join(f"{count} {name.replace('_', ' ')}" for name, count in sorted(done.items()))
    return f"{faults}, with loss all the time: longest wait {gap:.0f} ms"


def _progress(cluster, others):
    """The others go on without the one at fault."""
    cluster.wait_for_view(others, seconds=40)


def _kill(run, cluster, victim):
    victim.kill()
    if run.random.random() < 0.7:
        _progress(cluster, [broker for broker in cluster.brokers if broker is not victim])
    victim.start()


def _stop(run, cluster, victim):
    victim.stop()
    victim.start()


def _pause(run, cluster, victim):
    victim.pause()
    try:
        _progress(cluster, [broker for broker in cluster.brokers if broker is not victim])
    finally:
        victim.resume()


def _cut(run, cluster, victim):
    cluster.network.cut(victim.number)
    _progress(cluster, [broker for broker in cluster.brokers if broker is not victim])
    cluster.network.mend_cuts()


def _cut_link(run, cluster, victim):
    before = cluster.wait_for_view()["view"]
    other = run.random.choice([broker for broker in cluster.brokers if broker is not victim])
    cluster.network.cut(victim.number, [other.number])

    def changed():
        return any(
            status and status["view"] > before for status in map(lambda broker: broker.status(), cluster.brokers)
        )

    cluster.wait_until(changed, 40, "a view without the link")
    cluster.network.mend_cuts()
