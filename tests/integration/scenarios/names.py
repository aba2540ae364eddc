"""Names in place of addresses, that stand for several, for nothing yet, or for another one later; and which interface a
broker takes that was told nothing."""

from checks import check, check_equal, wait_until
from client import compare_lines
from scenario import Need, scenario


@scenario("late-seed", Need.SCRIPTS)
def late_seed(run):
    """A broker whose only seed has no address yet waits, says so once, begins no cluster, and joins when it has one."""
    cluster = run.cluster(3)
    first, second, third = cluster.brokers
    network = cluster.network
    first.start()
    cluster.wait_for_view()
    network.set_names(2, {"other.lan": ["10.77.0.99"]})
    network.cut(2, [1, 3])  # broadcast does not reach it either
    second.start("--seeds", "seed.lan:8001")
    second.process.wait_for_words("DISCOVERY this broker waits for a seed: 'seed.lan' has no IPv4 address", 10)
    # It would have listened long enough by now: it looks again every second.
    wait_until(lambda: second.status(), 10, "it answers while it waits")
    third.start()  # without seeds: what a broker needs that waits for nobody
    cluster.wait_for_view([first, third])
    check(not second.status()["quorum"], "it began a cluster of its own")
    check_equal(len(second.log_matches("waits for a seed")), 1, "times that it said so")
    network.mend_cuts()
    network.set_names(2, {"seed.lan": ["10.77.0.99", first.place.ip]})
    second.process.wait_for_words(rf"DISCOVERY the seeds are {first.place.ip}:8001, 10\.77\.0\.99:8001", 10)
    cluster.wait_for_view()
    # The name changes while the broker runs, and a member needs none of its seeds to come back.
    network.set_names(2, {"seed.lan": [third.place.ip]})
    second.process.wait_for_words(rf"DISCOVERY the seeds are now {third.place.ip}:8001", 20)
    network.set_names(2, {})
    second.kill()
    second.start("--seeds", "seed.lan:8001")
    cluster.wait_for_view()
    return "waited for its seed, joined by one of two addresses, followed a change, and came back without"


@scenario("own-name", Need.SCRIPTS)
def own_name(run):
    """--address with a name: of both families IPv4 is taken, and why is said; one that comes late is waited for."""
    network = run.ipv6_network(2, both=(1, 2))
    cluster = run.cluster(2, network)
    for broker in cluster.brokers:
        broker.place = network.v4_place(broker.number)
        broker.address = broker.place.address
    first, second = cluster.brokers
    network.set_names(1, {"me.lan": [network.ip(1), first.place.ip, "10.77.0.99"]})
    network.set_names(2, {"else.lan": ["10.77.0.99"]})
    first.start("--address", "me.lan:8001")
    first.process.wait_for_words(
        r"NET address 10\.77\.0\.1:8001 of eth0: 'me\.lan' resolves to .*fd77::1.*IPv4 is preferred", 10
    )
    second.start("--address", "me.lan:8001")
    second.process.wait_for_words("NET this broker waits for its address: 'me.lan' has no address", 10)
    network.set_names(2, {"me.lan": ["10.77.0.99"]})
    second.process.wait_for_words("'me.lan' resolves to 10.77.0.99, and this machine has .*10.77.0.2", 10)
    network.set_names(2, {"me.lan": [second.place.ip]})
    cluster.wait_for_view()
    # What else is given tells which family is meant.
    third = run.start(
        network.place(1),
        first.command("--address", "me.lan:8003", "--multicast", "[ff02::77]:9997", "--data", run.folder + "/third"),
    )
    third.wait_for_words(r"NET address \[fd77::1\]:8003 of eth0", 10)
    return "IPv4 before IPv6 unless the group says so; waited for a name, and for an address of this machine"


@scenario("ten-addresses", Need.SCRIPTS)
def ten_addresses(run):
    """Clients and tools by a name with ten addresses, of which one works and the others are silent."""
    cluster = run.cluster(1).start()
    network = cluster.network
    silent = [f"10.77.0.{number}" for number in range(201, 210)]
    network.set_names(network.client, {"ten.lan": [*silent[:5], cluster.brokers[0].place.ip, *silent[5:]]})
    lines = run.numbered_lines(500)
    named = ["--brokers", "ten.lan:8001"]
    cluster.producer("app", "--file", run.write("app.in", lines), *named).succeed(20)
    compare_lines(cluster.consumer("app", *named).succeed(20).lines(), lines, "read back")
    check("10.77.0.1:8001" in cluster.ctl("status", *named, seconds=15), "status does not tell of the broker")
    netdiag = run.start(cluster.client_place, [run.program("netdiag"), "--peer", "ten.lan:8001"]).succeed(20)
    check(b"ok   tcp: connected to 10.77.0.1:8001" in netdiag.output(), netdiag.output().decode())
    return "producer, consumer, status and netdiag by one name"


@scenario("interface-choice", Need.SCRIPTS)
def interface_choice(run):
    """Told nothing, a broker takes no interface of containers or a VPN, and says which it took and what it passed."""
    network = run.cluster(1).network
    inside = network.inside
    # The first interface is docker0, the second a VPN's, the third the network.
    inside(1, "ip", "link", "set", "eth0", "down")
    inside(1, "ip", "link", "set", "eth0", "name", "docker0")
    inside(1, "ip", "link", "set", "docker0", "up")
    for name, address in (("wg0", "10.9.0.1"), ("lan0", "10.78.0.1")):
        inside(1, "ip", "link", "add", name, "type", "veth", "peer", "name", f"{name}-end")
        inside(1, "ip", "link", "set", f"{name}-end", "up")
        inside(1, "ip", "address", "add", f"{address}/24", "broadcast", "+", "dev", name)
        inside(1, "ip", "link", "set", name, "up")

    def start(*flags):
        folder = f"{run.folder}/data{len(flags)}"
        words = [run.program("logstream"), "--data", folder, "--http", "off", "--log-level", "info", *flags]
        return run.start(network.place(1), words)

    told_nothing = start()
    passed_over = r"used only on request: 10\.77\.0\.1 \(docker0\), 10\.9\.0\.1 \(wg0\)"
    told_nothing.wait_for_words(rf"NET address 10\.78\.0\.1:8001 of lan0: .*{passed_over}", 10)
    by_address = start("--address", "10.77.0.1:8001")
    by_address.wait_for_words(r"NET address 10\.77\.0\.1:8001 of docker0: it was given", 10)
    told_nothing.kill()
    inside(1, "ip", "link", "delete", "lan0")
    start("--interface", "wg0", "--name", "n3").wait_for_words(r"NET address 10\.9\.0\.1:8001 of wg0", 10)
    netdiag = run.start(network.place(1), [run.program("netdiag")])
    netdiag.wait(20)
    check(b"a broker would use docker0 and listen on 10.77.0.1:8001" in netdiag.output(), netdiag.output().decode())
    return "lan0 before docker0 and wg0; these by their name or address"
