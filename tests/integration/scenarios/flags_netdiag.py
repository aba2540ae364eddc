"""The flags of `netdiag`, and what it says of a network that lets something not through."""

import contextlib
import json
import re

from checks import check, check_equal


def _start(cluster, *flags, env=None, before=()):
    words = [f"{key}={value}" for key, value in (env or {}).items()]
    argv = ["env", *words, *before, cluster.run.program("netdiag"), *map(str, flags)]
    return cluster.run.start(cluster.client_place, argv)


def _found(process, code):
    """Ends a netdiag --json with this exit code: what it found, by what it looked at."""
    found_code, said = process.wait(20), process.output()
    check_equal(found_code, code, f"exit code of {' '.join(process.argv[-6:])}, which says {process.errors()}{said}")
    report = json.loads(said)
    check_equal(report["ok"], code == 0, "ok")
    return {each["what"]: each for each in report["checks"]}


def _diagnose(cluster, *flags, code=0, **how):
    return _found(_start(cluster, "--json", *flags, **how), code)


def _diagnose_all(cluster, *ways, code=0):
    """What several find that run at once, each started with these flags, or with these variables. Each has a port of
    its own to look at: for a moment it is taken."""
    processes = []
    for port, way in enumerate(ways, 6001):
        flags, env = ([], way) if isinstance(way, dict) else (way, {})
        processes.append(_start(cluster, "--json", *flags, env={"NODE_ADDRESS": port} | env))
    return [_found(process, code) for process in processes]


def _check_says(finding, level, *patterns):
    check_equal(finding["level"], level, f"level of: {finding['text']}")
    for pattern in patterns:
        check(re.search(pattern, finding["text"]), f"expected {pattern!r}, found: {finding['text']}")


@contextlib.contextmanager
def _firewall(cluster, *rules):
    """Rules of the clients' host for what comes in."""
    run = cluster.client_place.run
    run(["nft", "add table ip wall; add chain ip wall in { type filter hook input priority 0; }"])
    try:
        for rule in rules:
            run(["nft", f"add rule ip wall in {rule}"])
        yield
    finally:
        run(["nft", "delete table ip wall"])


def check_flag_json_and_text(cluster):
    """All that it looks at, in a network where everything works."""
    ip = cluster.client_place.ip
    found = _diagnose(cluster)
    names = {"interface lo", "interface eth0", "choice", "address", "broadcast", "multicast", "buffers", "clock"}
    check_equal(set(found), names, "what netdiag looks at")
    for name in ("choice", "address", "broadcast", "multicast"):
        _check_says(found[name], "ok")
    check_equal((found["choice"]["interface"], found["choice"]["address"]), ("eth0", f"{ip}:8001"), "choice")
    check_equal(found["address"]["text"], f"{ip}:8001 is free, TCP and UDP", "address")
    process = _start(cluster).succeed(20)
    for line in (
        rf"ok   choice: a broker would use eth0 and listen on {ip}:8001",
        r"ok   broadcast: sent to 10\.77\.0\.255:8888 and received here; .*",
        r"ok   multicast: \d+ bytes sent to 239\.0\.0\.1:9999 by eth0 and received, and heard from other machines: .*",
    ):
        check(re.search(f"(?m)^{line}$", process.output().decode()), f"no line {line!r} in {process.output().decode()}")


def check_flag_interface(cluster):
    for port, found in enumerate(_diagnose_all(cluster, ["--interface", "lo"], {"NODE_INTERFACE": "lo"}), 6001):
        check_equal((found["choice"]["interface"], found["choice"]["address"]), ("lo", f"127.0.0.1:{port}"), "choice")
        check_equal(found["broadcast"]["to"], "127.255.255.255:8888", "broadcast by lo")
    found = _diagnose(cluster, "--interface", "eth9", code=1)
    _check_says(found["choice"], "FAIL", "no interface 'eth9'", r"10\.77\.0\.4 \(eth0\)")


def check_flag_address(cluster):
    place = cluster.client_place
    ways = (["--address", 7001], ["--address", "127.0.0.1:7002"], {"NODE_ADDRESS": "7003"})
    check_equal(
        [(each["choice"]["interface"], each["choice"]["address"]) for each in _diagnose_all(cluster, *ways)],
        [("eth0", f"{place.ip}:7001"), ("lo", "127.0.0.1:7002"), ("eth0", f"{place.ip}:7003")],
        "choice with PORT, IP:PORT and a variable",
    )
    with place.listen() as taken:
        at = "%s:%d" % taken.getsockname()
        elsewhere, in_use = _diagnose_all(cluster, ["--address", "10.1.2.3:8001"], ["--address", at], code=1)
    _check_says(elsewhere["choice"], "FAIL", "10.1.2.3 does not exist here", rf"{place.ip} \(eth0\)")
    _check_says(in_use["address"], "FAIL", f"{at} .* in use by another program", "--address")


def check_flag_address_of_a_broker(cluster):
    """On a broker's own machine its port is taken by what should have it."""
    broker = cluster.brokers[0]
    process = cluster.run.start(broker.place, [cluster.run.program("netdiag"), "--json"])
    _check_says(_found(process, 0)["address"], "ok", f"a broker runs on {broker.address}: cluster 'itest'", "3 members")


def check_flag_peer(cluster):
    broker = cluster.brokers[0]
    found, without = _diagnose_all(cluster, ["--peer", broker.address], [])
    _check_says(found["tcp"], "ok", f"connected to {broker.address} in ")
    _check_says(found["broker"], "ok", "cluster 'itest'", "3 members", "has quorum")
    _check_says(found["udp"], "ok", "answered JOIN")
    check_equal((found["broker"]["members"], found["broker"]["quorum"]), (3, True), "members and quorum")
    check("tcp" not in without, "without --peer a peer is tested")


def check_flag_peer_out_of_reach(cluster):
    """No broker there, a name that nobody knows, another program, a way that is blocked for UDP, or for all."""
    one, two, three = cluster.brokers
    nowhere = f"{one.place.ip}:8123"
    to_client = [f"ip saddr {two.place.ip} ip protocol udp", f"ip saddr {three.place.ip}"]
    with one.place.listen() as silent, _firewall(cluster, *(f"{each} drop" for each in to_client)):
        peers = [nowhere, "nobody.invalid:8001", three.address]
        refused, unknown, cut = _diagnose_all(cluster, *(["--peer", peer] for peer in peers), code=1)
        peers = ["%s:%d" % silent.getsockname(), two.address]
        other, tcp_alone = _diagnose_all(cluster, *(["--peer", peer] for peer in peers))
    _check_says(refused["tcp"], "FAIL", f"can't connect to {nowhere}: Connection refused", "nothing listens there")
    _check_says(unknown["tcp"], "FAIL", r"nobody\.invalid")
    _check_says(cut["tcp"], "FAIL", "no answer", "a firewall drops TCP port 8001")
    _check_says(other["broker"], "warn", "did not answer METADATA")
    _check_says(tcp_alone["tcp"], "ok")
    _check_says(tcp_alone["udp"], "warn", f"{two.address} did not answer JOIN by UDP from eth0: allow UDP port 8001")


def check_flag_multicast(cluster):
    """Blocked at one port: said for that one alone. A broker works without, so the exit code is 0."""
    group = "239.0.0.7:9990"
    with _firewall(cluster, "udp dport 9999 drop"):
        blocked, *others = _diagnose_all(cluster, [], ["--multicast", group], {"MULTICAST_GROUP": group})
    said = "sent to 239.0.0.1:9999 by eth0, but not received: allow UDP port 9999 and IGMP in the firewall"
    _check_says(blocked["multicast"], "warn", said, "LogStream then replicates by TCP")
    for found in others:
        _check_says(found["multicast"], "ok", rf"bytes sent to {group} by eth0 and received")


def check_flag_broadcast_port(cluster):
    with _firewall(cluster, "udp dport 8888 drop"):
        blocked, *others = _diagnose_all(cluster, [], ["--broadcast-port", 8887], {"BROADCAST_PORT": "8887"})
    said = r"sent to 10\.77\.0\.255:8888, but not received here; .*: allow UDP port 8888 in the firewall"
    _check_says(blocked["broadcast"], "warn", said, "brokers then find each other only through --seeds")
    for found in others:
        _check_says(found["broadcast"], "ok", r"sent to 10\.77\.0\.255:8887 and received here")


def check_flag_cluster(cluster):
    names = [f"{broker.name} at {broker.address}" for broker in cluster.brokers]
    without, *others = _diagnose_all(cluster, [], ["--cluster", cluster.name], {"CLUSTER_NAME": cluster.name})
    for found in others:
        check_equal(found["broadcast"]["brokers"], names, f"brokers of {cluster.name} that answer")
    check_equal(without["broadcast"]["brokers"], [], "brokers of cluster 'logstream' that answer")
    _check_says(without["broadcast"], "ok", "no broker of cluster 'logstream' answered")


def check_flag_no_network(cluster):
    """A machine without any interface that is up: no broker could work there."""
    found = _diagnose(cluster, before=["unshare", "--net"], code=1)
    _check_says(found["choice"], "FAIL", "no network interface that is up")


def check_flag_help_and_wrong_usage(cluster):
    said = _start(cluster, "--help").succeed(10).output().decode()
    for flag in ("--interface", "--address", "--peer", "--multicast", "--broadcast-port", "--cluster", "--json"):
        check(flag in said, f"netdiag --help does not tell of {flag}")
    check(_start(cluster, "--version").succeed(10).output().strip(), "no version")
    for flags, pattern in (
        (["--multicast", "10.0.0.1:9999"], "--multicast: expected GROUP:PORT"),
        (["--address", "here"], "--address expects IP:PORT"),
        (["--peer", "n1"], "--peer: expected HOST:PORT"),
        (["--broadcast-port", "0"], "--broadcast-port"),
        (["--nonsense"], "--nonsense"),
    ):
        process = _start(cluster, *flags)
        check_equal((process.wait(10), process.output()), (2, b""), f"exit code and stdout of netdiag {flags}")
        said = process.errors()
        check(re.search(pattern, said), f"netdiag {flags}: expected {pattern!r}, found {said!r}")
