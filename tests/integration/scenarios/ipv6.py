"""IPv6: brokers without an IPv4 address, clients with both, addresses that are not ready or of one link only."""

import json

from checks import Stopwatch, check, check_equal, wait_until
from client import Load, check_refused, compare_lines
from scenario import Need, scenario


def _members(broker):
    return {member["address"] for member in broker.status()["members"]}


def _link_local(network, host):
    shown = json.loads(network.inside(host, "ip", "-6", "-j", "address", "show", "dev", "eth0", "scope", "link"))
    return next(info["local"] for info in shown[0]["addr_info"] if "local" in info)


@scenario("ipv6-cluster", Need.SCRIPTS)
def ipv6_cluster(run):
    """Three brokers and their clients without any IPv4: they find each other by multicast, replicate by multicast, and
    go on without the owner."""
    cluster = run.cluster(3, run.ipv6_network(3))
    watch = Stopwatch()
    cluster.start()
    formed = watch.seconds
    for broker in cluster.brokers:
        check_equal(broker.status()["transport"], "multicast", f"transport that {broker} names")
        expected = {f"[fd77::{number}]:8001" for number in (1, 2, 3)}
        check_equal(_members(broker), expected, f"members that {broker} names")
    topic, owner = cluster.topic_owned_by(lambda broker: True)
    payload = sum(map(len, run.numbered_lines(20_000)))
    sent = cluster.network.bytes_sent(owner.number)
    lines = run.numbered_lines(20_000)
    cluster.producer(topic, "--file", run.write("app.in", lines), at=owner.place, brokers=[owner]).succeed(60)
    sent = cluster.network.bytes_sent(owner.number) - sent
    check(sent <= 1.3 * payload, f"{sent} bytes on the owner's wire for {payload} of payload: more than each once")
    failed = owner.status()["network"]["datagrams_send_failed"]
    check_equal(failed, 0, "datagrams that the kernel refused: their size leaves room for IPv6's header")
    compare_lines(cluster.read(topic, brokers=None), lines, "read back by a client that found the brokers by multicast")

    load = Load(cluster, topic="load")
    load.reach(0.3)
    owner = cluster.owner("load")
    owner.kill()
    pause = load.finish()
    cluster.wait_for_view()
    owner.start()
    cluster.wait_for_view()
    cluster.verify()
    status = json.loads(cluster.ctl("status", "--json"))
    check(all(member["address"].startswith("[fd77::") for member in status["members"]), f"addresses in {status}")
    return (
        f"one view {formed:.2f} s after the start; {sent / payload:.3f} bytes on the wire for one of payload; "
        f"owner killed: longest wait {pause:.0f} ms"
    )


@scenario("ipv6-clients", Need.SCRIPTS)
def ipv6_clients(run):
    """A client with both families finds and uses brokers of either; one without IPv6 says what it lacks."""
    network = run.ipv6_network(4, both=(1, 5))  # hosts 1 and the clients' have both
    six = run.cluster(2, network, name="six", first=2)
    four = run.cluster(1, network, name="four", first=1)
    four.brokers[0].place = network.v4_place(1)
    four.brokers[0].address = four.brokers[0].place.address
    six.start()
    four.start()
    lines = run.numbered_lines(2000)
    path = run.write("app.in", lines)
    for cluster in (four, six):
        for brokers in (None, "all"):
            topic = f"app-{'named' if brokers else 'found'}"
            cluster.producer(topic, "--file", path, brokers=brokers).succeed(30)
            compare_lines(cluster.read(topic, brokers=brokers), lines, f"{topic} of cluster {cluster.name}")
    # A name that has an address of each family, and nobody listens at one of them.
    network.set_names(network.client, {"both.lan": [network.ip(1), network.v4_place(1).ip]})
    found = four.consumer("app-named", "--brokers", "both.lan:8001").succeed(30).lines()
    compare_lines(found, lines, "read by a name with two addresses, of which one answers")
    # Link-local addresses need their interface.
    ip = _link_local(network, 2)
    check_refused(six.consumer("app-named", "--brokers", f"[{ip}]:8001"), 10, "link-local", r"\[fe80::.*%eth0\]:8001")
    check_refused(
        six.consumer("app-named", "--brokers", f"[{ip}%eth9]:8001"), 20, "there is no interface 'eth9'", r"\(eth0\)"
    )
    alone = four.consumer("app-named", at=network.place(4), brokers=four.brokers)
    check_refused(alone, 20, "no broker answered at 10.77.0.1:8001", "unreachable")
    return "two clusters, IPv4 and IPv6, found and named; a name with both; link-local addresses with and without a zone"


@scenario("ipv6-link-local", Need.SCRIPTS)
def ipv6_link_local(run):
    """Brokers that have link-local addresses alone, which nobody told them to take."""
    network = run.ipv6_network(3)
    for host in (1, 2, 3, network.client):
        network.inside(host, "ip", "-6", "address", "flush", "dev", "eth0", "scope", "global")
    cluster = run.cluster(3, network)
    for broker in cluster.brokers:
        broker.place.ip = _link_local(network, broker.number) + "%eth0"
        broker.address = broker.place.address
        broker.start("--address", "8001")
    cluster.wait_for_view()
    for broker in cluster.brokers:
        check(broker.log_matches(r"NET address \[fe80::.*\]:8001 of eth0: .*link-local"), f"{broker} says not why")
        check_equal(broker.status()["transport"], "multicast", f"transport that {broker} names")
    lines = run.numbered_lines(2000)
    cluster.producer("app", "--file", run.write("app.in", lines), brokers=None).succeed(30)
    compare_lines(cluster.read("app"), lines, "read back")
    cluster.verify()
    cluster.brokers[0].kill()
    cluster.wait_for_view()
    compare_lines(cluster.read("app", brokers=None), lines, "read back after a broker was killed")
    return "three brokers on fe80:: addresses, found with and without their names"


@scenario("ipv6-loopback", Need.SCRIPTS)
def ipv6_loopback(run):
    """Brokers on [::1] find each other, though IPv6 has no broadcast and loopback no multicast of it."""
    network = run.ipv6_network(1)
    cluster = run.cluster(3, network, first=1)
    for number, broker in enumerate(cluster.brokers):
        broker.place = network.place(1)
        broker.place.ip, broker.place.port, broker.place.name = "::1", 8001 + number, f"n{number + 1}"
        broker.name, broker.address = broker.place.name, broker.place.address
        broker.data = f"{broker.data}-{number}"
        broker.start()
    cluster.wait_for_view()
    cluster.client_place = network.place(1)
    lines = run.numbered_lines(2000)
    cluster.producer("app", "--file", run.write("app.in", lines), brokers=None).succeed(30)
    compare_lines(cluster.read("app"), lines, "read back")
    return f"one view on [::1], replicated by {cluster.brokers[0].status()['transport']}"


@scenario("ipv6-not-ready", Need.SCRIPTS)
def ipv6_not_ready(run):
    """An address that the network is still being asked for is waited for; one that another machine has is refused."""
    network = run.ipv6_network(2)
    for host in (1, 2):
        network.inside(host, "sh", "-c", "echo 6 >/proc/sys/net/ipv6/conf/eth0/dad_transmits")  # six seconds
    cluster = run.cluster(2, network)
    first, second = cluster.brokers
    for broker, ip in ((first, "fd77::a"), (second, network.ip(1))):
        broker.place.ip = ip
        broker.address = broker.place.address
        network.inside(broker.number, "ip", "address", "add", f"{ip}/64", "dev", "eth0")
        broker.start()
    first.process.wait_for_words(r"NET this broker waits for its address: checking the network of eth0", 10)
    check_equal(second.end_by_itself(20), 1, "exit code of the broker whose address another machine has")
    check("another machine on the network of eth0 also has the address fd77::1" in second.log(), second.log()[-300:])
    cluster.wait_for_view([first])
    check_equal(len(first.log_matches("waits for its address")), 1, "times that it said so")
    # One that is not given up on is left when it is told to.
    network.inside(1, "ip", "address", "add", "fd77::b/64", "dev", "eth0")
    waiting = run.start(network.place(1), [*first.command("--address", "[fd77::b]:8002", "--data", run.folder + "/b")])
    waiting.wait_for_words("waits for its address", 10)
    waiting.send_signal(15)
    check_equal(waiting.wait(10), 0, "exit code after SIGTERM while it waits")
    return "waited for, once said; refused where it is taken; ended while waiting"


@scenario("ipv6-mixed", Need.SCRIPTS)
def ipv6_mixed(run):
    """What mixes the families is refused, and says what to do."""
    network = run.ipv6_network(1, both=(1,))
    cluster = run.cluster(1, network)
    command = cluster.brokers[0].command
    seven = "239.0.0.7:9999"
    for flags, code, said in (
        (["--multicast", seven], 2, "expected both IPv4 or both IPv6, but replication.multicast is 239.0.0.7:9999"),
        (["--seeds", "10.77.0.1:8001"], 2, "expected seeds of the same family as the address"),
        (["--multicast", seven, "--seeds", "[fd77::2]:8001", "--address", "8001"], 2, "seeds and group of the same family"),
        (["--address", "fd77::1:8001"], 2, r"--address: expected an IPv6 address in brackets, like \[fd00::1\]:8001"),
        (["--address", "[fd77::99]:8001"], 1, "fd77::99 is not an address of this machine; .*fd77::1"),
        (["--address", "[fe80::1%eth9]:8001"], 1, "there is no interface 'eth9' on this machine"),
        (["--address", "[::]:8001"], 2, "expected an address of this machine that others can connect to"),
    ):
        process = run.start(network.place(1), command(*flags))
        check_equal(process.wait(10), code, f"exit code with {flags}")
        process.wait_for_words(said, 1)
    # IPv4 in IPv6's clothes is IPv4.
    mapped = run.start(network.place(1), command("--address", "[::ffff:10.77.0.1]:8001", "--multicast", seven))
    mapped.wait_for_words(r"NODE start .*address=10\.77\.0\.1:8001", 10)
    wait_until(lambda: "role=leader" in mapped.errors(), 10, "it leads")
    return "groups, seeds, brackets, zones, and the mapped form"
