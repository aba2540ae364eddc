"""A leader that is killed is replaced by the ring election."""

from checks import Stopwatch, check, check_equal
from scenario import scenario


@scenario("election-automatic")
def election_automatic(run):
    """ELECTION goes round among those that are left, the greatest id wins, and there is one leader."""
    cluster = run.cluster(4).start()
    leader = cluster.leader()
    rest = [broker for broker in cluster.brokers if broker is not leader]
    before = {broker: len(broker.log()) for broker in rest}
    leader.signal_kill()
    watch = Stopwatch()
    status = cluster.wait_for_view(rest)
    elected = watch.seconds
    greatest = max(rest, key=lambda broker: int(broker.id, 16))
    check_equal(status["leader"], greatest.id, "the new leader, against the greatest id")
    news = {broker: broker.log()[before[broker] :] for broker in rest}
    starts = [broker for broker in rest if "ELECTION start" in news[broker]]
    winners = [broker for broker in rest if f"ELECTION I WIN id={broker.id}" in news[broker]]
    check(starts, "nobody logs ELECTION start")
    check_equal(winners, [greatest], "who logs ELECTION I WIN")
    for broker in rest:
        if broker is not greatest:
            check(
                f"COORDINATOR is {greatest.id}" in news[broker], f"{broker} does not log COORDINATOR is {greatest.id}"
            )
    check_equal([broker for broker in rest if broker.status()["role"] == "leader"], [greatest], "leaders by status")
    leader.start()
    view = cluster.wait_for_view(cluster.brokers)
    check_equal(view["leader"], greatest.id, "leader after the old one's return")
    return f"new view {elected * 1000:.0f} ms after kill -9; started by {len(starts)} of 3, won by the greatest id"
