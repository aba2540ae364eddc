"""A disk that fails a write or a flush (EIO): its broker gives up, says so, and has not acknowledged what failed."""

import time

from capture import Capture
from checks import Stopwatch, check, check_equal
from client import Load
from faults import FaultyDisk
from scenario import Need, scenario

# The call that fails takes so long first: all that it sent because of earlier ones has passed by then.
DELAY_US = 100_000


@scenario("disk-errors", Need.HOSTS, Need.PACKETS, Need.FILES)
def disk_errors(run):
    """One after another in one load: a flush and a write fail, of a follower and of the topic's owner. A failed flush
    must not be tried again: Linux would call the second one a success."""
    cluster = run.cluster(3)
    disks = {broker: FaultyDisk(broker) for broker in cluster.brokers}
    captures = {b: Capture(run, *cluster.network.tap(b.number)) for b in cluster.brokers}
    cluster.start()
    topic = cluster.create_topic("app")
    load = Load(cluster, topic, seconds=2 * run.load_seconds())
    faults = [(operation, role) for operation in ("flush", "write") for role in ("follower", "owner")]
    failures, back = [], []
    for number, (operation, role) in enumerate(faults):
        load.reach((number + run.random.uniform(0.3, 0.9)) / (len(faults) + 1))
        owner = cluster.owner(topic)
        followers = [broker for broker in cluster.brokers if broker is not owner]
        victim = owner if role == "owner" else run.random.choice(followers)
        failures.append((victim, _fail(victim, disks[victim], operation), time.time()))
        cluster.wait_for_view([broker for broker in cluster.brokers if broker is not victim])
        watch = Stopwatch()
        victim.start()
        cluster.wait_for_view(cluster.brokers)
        back.append(watch.seconds)
    gap = load.finish()
    cluster.verify()
    acks = {broker: _acknowledgements(capture.stop(), broker) for broker, capture in captures.items()}
    for victim, failed, ended in failures:
        late = [ack for ack in acks[victim] if failed <= ack <= ended]
        check(not late, f"{victim} called {len(late)} positions durable between its disk's failure and its end")
    counts = {broker.name: len(times) for broker, times in acks.items()}
    check(sum(counts.values()) > len(load.lines) / 10, f"the captures show few positions called durable: {counts}")
    return (
        f"EIO on a flush and on a write, of a follower and of the owner: each ends within "
        f"{max(ended - failed for _, failed, ended in failures) * 1000:.0f} ms, and called nothing durable after it; "
        f"back as members within {max(back):.2f} s, longest wait {gap:.0f} ms"
    )


def _fail(victim, disk, operation):
    """Lets the operation fail once, which must end the broker; when it failed, in seconds since 1970."""
    control = disk.control
    if operation == "flush":
        control.flush_delay_us, control.flushes_to_fail = DELAY_US, 1
    else:
        control.write_delay_us, control.writes_to_fail = DELAY_US, 1
    code = victim.end_by_itself(10)
    check_equal(code, 1, f"exit code of {victim} after a failed {operation}")
    for words in (rf"DISK failed: cannot {operation} ", rf"FATAL (?:cannot {operation} |the disk failed)"):
        check(victim.log_matches(words), f"{victim} does not say {words!r}, but: {victim.process.last_words()}")
    control.flush_delay_us = control.write_delay_us = 0
    return control.failed_at_us / 1e6


def _acknowledgements(seen, broker):
    """When the broker called a position durable that it had not called so before."""
    times, best = [], {}
    for each in seen:
        if each.type == "REPLICATE_ACK" and each.source[0] == broker.place.ip:
            ack = each.content.parse()
            session = (each.target[0], ack.view, ack.incarnation)
            if ack.durable_sequence > best.get(session, 0):
                best[session] = ack.durable_sequence
                times.append(each.time)
    return times
