"""A record that one follower alone holds, since producer and owner died before it was acknowledged, is not lost."""

import json

from checks import check, check_equal
from client import compare_lines
from scenario import Need, scenario

@scenario("union", Need.HOSTS)
def union(run):
    """The owner's frames reach one follower only, and what that one says does not reach the owner."""
    cluster = run.cluster(3).start()
    leader = cluster.leader()
    topic, owner = cluster.topic_owned_by(lambda broker: broker is not leader)
    cluster.producer(topic, "--message", "before").succeed(20)
    holder, other = (broker for broker in cluster.brokers if broker is not owner)
    # Frames on UDP 9999 reach the holder only, heartbeats reach both; nothing that the holder sends by TCP arrives.
    frames = "udp dport 9999 @th,104,8 4"
    cluster.network.lose(other.number, f"ip saddr {owner.place.ip} {frames}")
    cluster.network.lose(owner.number, f"ip saddr {holder.place.ip} ip protocol tcp")
    producer = cluster.producer(topic, "--message", "in doubt", "--timeout", 60_000, brokers=[owner])

    def held():
        found = cluster.ctl("query", "-t", topic, "--at", holder.address, "--json").splitlines()
        return (len(found) == 2 and not json.loads(found[1])["committed"], f"{found}")

    cluster.wait_until(held, 10, f"{holder} holds the record that nobody has acknowledged")
    check(producer.running, f"the producer ended: {producer.last_words()}")
    producer.kill()
    owner.signal_kill()
    cluster.network.heal()
    cluster.wait_for_view([holder, other])
    compare_lines(cluster.read(topic, brokers=[holder, other]), [b"before", b"in doubt"], "after owner and producer died")
    owner.start()
    cluster.wait_for_view(cluster.brokers)
    found = cluster.read(topic)
    check_equal(sorted(found), [b"before", b"in doubt"], "after the owner came back")
    cluster.verify()
    return f"a record that {holder} alone held survived {owner} and its producer, once"
