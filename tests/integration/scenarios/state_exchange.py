"""A broker that comes back receives what it lacks and no more."""

from checks import Stopwatch, check
from client import compare_lines
from scenario import Need, scenario

ALLOWANCE_BYTES = 1 << 20


def _with_a_broker_that_lacks(run, held):
    """A cluster one of whose brokers has so many records and was killed before the others got more: the cluster, the
    topic, that broker, the lines that it has, and those that it missed."""
    cluster = run.cluster(3).start()
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    returning = next(broker for broker in cluster.brokers if broker is not owner)
    before, missed = run.numbered_lines(held, "before "), run.numbered_lines(15_000, "missed ")
    cluster.producer(topic, "--file", run.write("before.in", before)).succeed(60)
    returning.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not returning])
    cluster.producer(topic, "--file", run.write("missed.in", missed)).succeed(60)
    return cluster, topic, returning, before, missed


@scenario("state-exchange", Need.HOSTS)
def state_exchange(run):
    cluster, topic, returning, before, missed = _with_a_broker_that_lacks(run, 40_000)
    received = cluster.network.bytes_received(returning.number)
    watch = Stopwatch()
    returning.start()
    cluster.wait_for_view(cluster.brokers)
    seconds = watch.seconds
    received = cluster.network.bytes_received(returning.number) - received
    held, suffix = sum(map(len, before)), sum(map(len, missed))
    check(received >= suffix, f"{returning} received {received} bytes, less than the {suffix} that it lacked")
    check(
        received <= suffix + ALLOWANCE_BYTES, f"{returning} received {received} bytes for the {suffix} that it lacked"
    )
    check(held > 3 * ALLOWANCE_BYTES, "too little input to tell a suffix from a whole log")
    compare_lines(cluster.read(topic), before + missed, "read back")
    cluster.verify()
    return f"{received} bytes received for a suffix of {suffix} (it had {held}), a member after {seconds:.2f} s"


@scenario("slow-link", Need.HOSTS)
def slow_link(run):
    """A broker whose link carries far less than others send comes back all the same, and asks for nothing twice."""
    cluster, topic, returning, before, missed = _with_a_broker_that_lacks(run, 1_000)
    cluster.network.lose(returning.number, "tcp sport 8001 limit rate over 300 kbytes/second burst 150 kbytes")
    received = cluster.network.bytes_received(returning.number)
    watch = Stopwatch()
    returning.start()
    cluster.wait_for_view(cluster.brokers, 90)
    seconds = watch.seconds
    received = cluster.network.bytes_received(returning.number) - received
    cluster.network.heal()
    suffix = sum(map(len, missed))
    check(received <= 2 * suffix, f"{returning} received {received} bytes for the {suffix} that it lacked")
    compare_lines(cluster.read(topic), before + missed, "read back")
    cluster.verify()
    return f"{received} bytes received for a suffix of {suffix}, a member after {seconds:.1f} s"
