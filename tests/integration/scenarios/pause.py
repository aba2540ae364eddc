"""A broker that stands still for seconds (SIGSTOP) is left behind; when it wakes it does no harm, and comes back."""

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
