"""A broker that stands still for seconds (SIGSTOP) is left behind; when it wakes it does no harm, and comes back."""

import time

from checks import Stopwatch, check
from client import Load
from scenario import scenario

LONGEST_GAP_MS = 5000


@scenario("pause")
def pause(run):
    """The broker that leads and owns the topic: it wakes in the belief that it still does."""
    cluster = run.cluster(3).start()
    leader = cluster.leader()
    topic, _ = cluster.topic_owned_by(lambda broker: broker is leader)
    load = Load(cluster, topic)
    moment = load.reach_random_moment()
    leader.pause()
    watch = Stopwatch()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not leader])
    changed = watch.seconds
    leader.resume()
    watch = Stopwatch()
    cluster.wait_for_view(cluster.brokers)
    returned = watch.seconds
    gap = load.finish()
    check(gap < LONGEST_GAP_MS, f"a record waited {gap:.0f} ms for its acknowledgement")
    cluster.verify()
    return (
        f"write gap {gap:.0f} ms, new view after {changed * 1000:.0f} ms, paused at {moment:.0%}, "
        f"back as a member {returned:.2f} s after it woke"
    )


STANDSTILL_SECONDS = 10
# Out of the view, and back in it. An attempt that another one overtakes costs a number, too.
MOST_VIEWS = 6


@scenario("standstill")
def standstill(run):
    """A leader, an owner and a follower, of a cluster each, stand still for ten seconds: one view goes on without them,
    one takes them back."""
    cases = [_Standstill(run, role) for role in ("leader", "owner", "follower")]
    for case in cases:
        case.load.reach(0.1)
        case.victim.pause()
    watch = Stopwatch()
    for case in cases:
        case.cluster.wait_for_view(case.others)
    time.sleep(STANDSTILL_SECONDS - min(watch.seconds, STANDSTILL_SECONDS))
    for case in cases:
        case.victim.resume()
    return "; ".join(case.finish() for case in cases)


class _Standstill:
    def __init__(self, run, role):
        self.role = role
        self.cluster = run.cluster(3, name=role).start()
        leader = self.cluster.leader()
        topic, owner = self.cluster.topic_owned_by(lambda broker: broker is not leader)
        follower = next(broker for broker in self.cluster.brokers if broker not in (leader, owner))
        self.victim = {"leader": leader, "owner": owner, "follower": follower}[role]
        self.others = [broker for broker in self.cluster.brokers if broker is not self.victim]
        self.view = self.cluster.wait_for_view()["view"]
        self.load = Load(self.cluster, topic, name=role, seconds=STANDSTILL_SECONDS + 4)

    def finish(self):
        self.cluster.wait_for_view()
        gap = self.load.finish()
        check(gap < LONGEST_GAP_MS, f"{self.role}: a record waited {gap:.0f} ms for its acknowledgement")
        view = self.cluster.wait_for_view()["view"]
        check(view - self.view <= MOST_VIEWS, f"{self.role}: {view - self.view} views because of one standstill")
        self.cluster.verify()
        return f"{self.role}: write gap {gap:.0f} ms, {view - self.view} views"
