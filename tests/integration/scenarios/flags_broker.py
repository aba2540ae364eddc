"""Every flag of the broker, and the variables and the file that stand for flags, does what it says."""

import json
import os
import re
import select
import signal
import socket
import sys

import wire
from capture import Capture
from checks import check, check_equal, wait_until
from process import run as run_command
from scenario import Need, scenario
from scenarios.flags import run_checks

# Key in the file, variable, flag.
NAMES = [
    ("node.address", "NODE_ADDRESS", "--address"),
    ("node.interface", "NODE_INTERFACE", "--interface"),
    ("node.name", "NODE_NAME", "--name"),
    ("cluster.name", "CLUSTER_NAME", "--cluster"),
    ("replication.multicast", "MULTICAST_GROUP", "--multicast"),
    ("discovery.broadcast_port", "BROADCAST_PORT", "--broadcast-port"),
    ("discovery.seeds", "SEEDS", "--seeds"),
    ("storage.dir", "DATA_DIR", "--data"),
    ("admin.http", "HTTP_ADDRESS", "--http"),
    ("log.level", "LOG_LEVEL", "--log-level"),
]
DEFAULT_NAME = f"{re.sub('[^A-Za-z0-9._-]', '-', socket.gethostname())}-8001"
FRAMES = "udp dport 9999 @th,104,8 4"  # of replication
LAST = 1_000_000  # an interface's number
NO_BROADCAST = "ether type ip pkttype { broadcast, multicast }"


@scenario("flags-broker", Need.HOSTS, Need.PACKETS, Need.FILES, Need.NAMESPACES)
def flags_broker(run):
    ground = Ground(run)
    count = run_checks((sys.modules[__name__],), ground, run, after=ground.clear)
    return f"{count} checks of the broker's flags, variables and file"


class Ground:
    """Hosts without brokers. Those of host 1 and 2, and those of 3 and 4, have a second network in common: eth1."""

    def __init__(self, run):
        self.run, self.network, self._brokers = run, run.network(4), []
        for host in (1, 3):
            ours, theirs = self.network.namespace(host), self.network.namespace(host + 1)
            # Whatever the number of eth0 is, eth1 comes after it.
            ends = [["eth1", "index", LAST + number, "netns", at] for number, at in ((host, ours), (host + 1, theirs))]
            run_command(["ip", "link", "add", *ends[0], "type", "veth", "peer", *ends[1]])
            for number, namespace in ((host, ours), (host + 1, theirs)):
                address = [f"10.78.{host}.{number}/24", "broadcast", f"10.78.{host}.255"]
                run_command(["ip", "-n", namespace, "address", "add", *address, "dev", "eth1"])
                run_command(["ip", "-n", namespace, "link", "set", "eth1", "up"])

    def place(self, host):
        return self.network.place(host)

    def start(self, host, *flags, **how):
        self._brokers.append(Started(self.run, self.place(host), *flags, **how))
        return self._brokers[-1]

    def exit_of(self, *flags, env=None):
        """Exit code, stdout and stderr of a broker that must end at once."""
        process = self.start(1, *flags, env=env).process
        return process.wait(10), process.output().decode(), process.errors()

    def clear(self):
        """The next check begins with hosts without brokers."""
        for broker in self._brokers:
            broker.process.kill()
        self._brokers.clear()
        self.network.heal()


class Started:
    """A broker that was given nothing but what a check gives it, in an empty folder; how it looks from outside."""

    def __init__(self, run, place, *flags, env=None, port=8001, cluster="logstream"):
        self.place, self.port, self.cluster = place, port, cluster
        self.folder = os.path.join(run.folder, f"cwd-{len(os.listdir(run.folder))}")
        os.makedirs(self.folder)
        words = ["env", "-C", self.folder, *(f"{key}={value}" for key, value in (env or {}).items())]
        argv = [*words, run.program("logstream"), *map(str, flags)]
        self.process = run.start(place, argv, os.path.basename(self.folder))

    def ask(self, kind, request):
        with self.place.connect((self.place.ip, self.port), 2) as connection:
            return wire.ask(connection, wire.cluster_tag(self.cluster), kind, request).parse()

    def status(self):
        try:
            return json.loads(self.ask("STATUS", wire.protobuf("Status")).json)
        except OSError:
            return None

    def wait_for_view(self, *names):
        """Waits until it is in a working view of these members; its status."""

        def there():
            check(self.process.running, f"the broker ended: {self.process.last_words()}")
            status = self.status()
            found = sorted(each["name"] for each in status["members"]) if status and status["quorum"] else None
            return status if found == sorted(names) else None, f"{found}; {self.process.last_words()}"

        return wait_until(there, 10, f"a view of {', '.join(names)} at {self.place.ip}:{self.port}")

    def sockets(self):
        """Protocol, ip and port of each socket on which its host listens."""
        rows = self.place.run(["ss", "-H", "-l", "-n", "-t", "-u"]).splitlines()
        found = {" ".join((row.split()[0], re.sub("%[^:]*", "", row.split()[4]))) for row in rows}
        return {each for each in found if " 127.0.0.11:" not in each}  # in a container: Docker's name service

    def groups(self):
        """Interface and address of the multicast groups that its host joined, but the one that every host is in."""
        shown = json.loads(self.place.run(["ip", "-j", "maddr", "show"]))
        return {
            (each["ifname"], group["address"])
            for each in shown
            for group in each["maddr"]
            if group.get("family") == "inet" and group["address"] != "224.0.0.1"
        }

    def page(self, at):
        """The node that the status page at ip:port tells of; None without one."""
        ip, _, port = at.rpartition(":")
        try:
            with self.place.connect((ip, int(port)), 2) as connection:
                connection.sendall(b"GET /status HTTP/1.0\r\n\r\n")
                answer = b"".join(iter(lambda: connection.recv(1 << 16), b""))
        except OSError:
            return None
        return json.loads(answer.partition(b"\r\n\r\n")[2])["node"]

    def levels(self):
        """The levels of the lines that it has logged."""
        return "".join(sorted(set(re.findall(r"(?m)^\S+ ([A-Z]) ", self.process.errors()))))


class Seeds:
    """Three ports that stand for brokers to ask."""

    def __init__(self, place):
        self._listeners = [place.listen() for _ in range(3)]
        self.addresses = ["%s:%d" % each.getsockname() for each in self._listeners]
        self._asked = set()

    def asked_by(self, ip):
        """The addresses that a broker of this host has asked for a cluster."""
        for address, listener in zip(self.addresses, self._listeners):
            while select.select([listener], [], [], 0)[0]:
                connection, (caller, _) = listener.accept()
                connection.settimeout(5)
                data = b""
                with connection:
                    while wire.decode_message(data) is None and (part := connection.recv(1 << 16)):
                        data += part
                kind = wire.decode_message(data).type
                check(kind in ("INTRODUCTION", "JOIN", "PROBE"), f"a seed is asked {kind}")
                self._asked.add((caller, address))
        return ",".join(sorted(address for caller, address in self._asked if caller == ip))

    def close(self):
        for each in self._listeners:
            each.close()



def _write_yaml(run, name, values):
    """A configuration file; its path."""
    sections = {}
    for key, value in values.items():
        section, _, rest = key.partition(".")
        sections.setdefault(section, [f"{section}:"]).append(f"  {rest}: '{value}'")
    return run.write(name, [line.encode() for lines in sections.values() for line in lines])


def _as_flags(values):
    return [word for key, _, flag in NAMES if key in values for word in (flag, values[key])]


def _as_environment(values):
    return {variable: values[key] for key, variable, _ in NAMES if key in values}


def _check_looks(broker, values, seeds):
    """Each of the settings shows from outside."""
    ip, port = broker.place.ip, values["node.address"].rpartition(":")[2]
    group, http = values["replication.multicast"], values["admin.http"]
    broker.port, broker.cluster = int(port), values["cluster.name"]
    status = broker.wait_for_view(values["node.name"])
    found = {
        "node.address": ", ".join(member["address"] for member in status["members"]),
        "node.interface": ", ".join(interface for interface, address in broker.groups() if address in group),
        "node.name": status["name"],
        "cluster.name": status["cluster"],
        "discovery.seeds": seeds.asked_by(ip),
        "storage.dir": status["disk"]["dir"],
        "admin.http": http if broker.page(http) == status["node"] else "",
        "log.level": broker.levels(),
    }
    expected = {key: values[key] for key in found} | {"node.address": f"{ip}:{port}"}
    expected["log.level"] = {"info": "IW", "warn": "W", "error": ""}[values["log.level"]]
    check_equal(found, expected, "settings as they show from outside")
    check(os.listdir(os.path.join(broker.folder, values["storage.dir"])), "the data folder is empty")
    ports = {f"tcp {ip}:{port}", f"udp {ip}:{port}", f"udp {group}", f"tcp {http}"}
    ports.add(f"udp 0.0.0.0:{values['discovery.broadcast_port']}")
    check_equal(broker.sockets(), ports, "ports that are open")


def check_flag_precedence_of_all_settings(ground):
    """Default, file, variable, flag: of four brokers each is given one source more than the one before."""
    seeds = Seeds(ground.place(ground.network.client))
    layers = [
        {
            "node.address": "8001",
            "node.interface": "eth0",
            "node.name": DEFAULT_NAME,
            "cluster.name": "logstream",
            "replication.multicast": "239.0.0.1:9999",
            "discovery.broadcast_port": "8888",
            "discovery.seeds": "",
            "storage.dir": "./data/8001",
            "admin.http": f"{ground.place(1).ip}:9001",
            "log.level": "info",
        },
        {
            "node.address": "7001",
            "node.interface": "eth1",
            "node.name": "by-file",
            "cluster.name": "of-file",
            "replication.multicast": "239.1.0.1:7101",
            "discovery.broadcast_port": "7201",
            "discovery.seeds": seeds.addresses[0],
            "storage.dir": "in-file",
            "admin.http": f"{ground.place(2).ip}:7301",
            "log.level": "warn",
        },
        {
            "node.address": f"{ground.place(3).ip}:7002",
            "node.interface": "lo",
            "node.name": "by-variable",
            "cluster.name": "of-variable",
            "replication.multicast": "239.1.0.2:7102",
            "discovery.broadcast_port": "7202",
            "discovery.seeds": seeds.addresses[1],
            "storage.dir": "in-variable",
            "admin.http": f"{ground.place(3).ip}:7302",
            "log.level": "error",
        },
        {
            "node.address": f"{ground.place(4).ip}:7003",
            "node.interface": "eth1",
            "node.name": "by-flag",
            "cluster.name": "of-flag",
            "replication.multicast": "239.1.0.3:7103",
            "discovery.broadcast_port": "7203",
            "discovery.seeds": seeds.addresses[2],
            "storage.dir": "in-flag",
            "admin.http": f"{ground.place(4).ip}:7303",
            "log.level": "info",
        },
    ]
    file = ["--config", _write_yaml(ground.run, "layers.yaml", layers[1])]
    misspelt = {"NODE_NAMES": "warned of"}  # so that every broker has a line of level warn to log
    environment = misspelt | _as_environment(layers[2])
    brokers = [
        ground.start(1, env=misspelt),
        ground.start(2, *file, env=misspelt),
        ground.start(3, *file, env=environment),
        ground.start(4, *file, *_as_flags(layers[3]), env=environment),
    ]
    try:
        for broker, values in zip(brokers, layers):
            _check_looks(broker, values, seeds)
    finally:
        seeds.close()


def _join(*brokers, names):
    """Waits until these are one view, in the same lineage; their statuses."""
    statuses = [broker.wait_for_view(*names) for broker in brokers]
    check_equal(len({status["cluster_id"] for status in statuses}), 1, f"lineages of {', '.join(names)}")
    return statuses


def check_flag_address_in_all_forms(ground):
    """IP:PORT stands in the check of all settings; here a port alone, as a flag, and without one."""
    by_flag = ground.start(1, "--address", 7005, "--name", "a", "--cluster", "a", port=7005, cluster="a")
    by_place = ground.start(2, 7006, "--name", "b", "--cluster", "b", port=7006, cluster="b")
    by_flag.wait_for_view("a")
    by_place.wait_for_view("b")
    code, _, said = ground.exit_of("--address", "10.1.2.3:8001")
    check_equal(code, 1, f"exit code with the address of another machine; {said}")
    check("10.1.2.3 is not an address of this machine" in said and "10.77.0.1 (eth0)" in said, said)


def check_flag_cluster_of_another_name(ground):
    """A broker of another name stays alone beside two that find each other, before and after it was there."""
    here = ["--cluster", "here"]
    first = ground.start(1, "--name", "n1", *here, cluster="here")
    first.wait_for_view("n1")
    stranger = ground.start(2, "--name", "n2", "--cluster", "there", cluster="there")
    stranger.wait_for_view("n2")
    last = ground.start(3, "--name", "n3", env={"CLUSTER_NAME": "here"}, cluster="here")
    _join(first, last, names=("n1", "n3"))
    stranger.wait_for_view("n2")


def check_flag_multicast_and_broadcast_port(ground):
    """What two brokers send goes to the group and to the port that they were given, and so they find each other."""
    place = ground.place(1)
    capture = Capture(ground.run, *ground.network.tap(1))
    flags = ["--multicast", "239.7.7.7:7777", "--broadcast-port", 7778]
    other = ground.start(3, "--name", "n3", "--broadcast-port", 7779)  # would find them at the default
    brokers = [ground.start(host, "--name", f"n{host}", *flags) for host in (1, 2)]
    for status in _join(*brokers, names=("n1", "n2")):
        check_equal(status["transport"], "multicast", "transport")
    other.wait_for_view("n3")
    ours = [each for each in capture.stop() if each.source[0] != ground.place(3).ip]
    check_equal({each.target for each in ours if each.transport == "multicast"}, {("239.7.7.7", 7777)}, "multicast to")
    check_equal({each.target[1] for each in ours if each.transport == "broadcast"}, {7778}, "ports of broadcasts")


def check_flag_interface(ground):
    """The network of their addresses carries no broadcast and no multicast; the one that they have besides does."""
    for host in (1, 2, 3, 4):
        ground.network.lose(host, NO_BROADCAST)
    flags = ["--interface", "eth1"]
    brokers = [ground.start(host, "--address", f"10.77.0.{host}:8001", "--name", f"n{host}", *flags) for host in (1, 2)]
    alone = ground.start(3, "--name", "n3")
    for status in _join(*brokers, names=("n1", "n2")):
        check_equal(status["transport"], "multicast", "transport by eth1")
    alone.wait_for_view("n3")
    code, _, said = ground.exit_of("--interface", "eth9", "--address", 7009)
    check_equal(code, 1, f"exit code with an interface that is not there; {said}")
    check("eth9" in said and "10.78.1.1 (eth1)" in said, f"not told which interfaces there are: {said}")


def check_flag_seeds(ground):
    """In a network without broadcast."""
    for host in (1, 2, 3, 4):
        ground.network.lose(host, NO_BROADCAST)
    first = ground.start(1, "--name", "n1")
    first.wait_for_view("n1")
    seeds = f"{ground.place(4).ip}:8001,{ground.place(1).ip}:8001"  # nobody is at the first
    by_flag = ground.start(2, "--name", "n2", "--seeds", seeds)
    alone = ground.start(4, "--name", "n4", "--address", 8002, port=8002)
    _join(first, by_flag, names=("n1", "n2"))
    by_variable = ground.start(3, "--name", "n3", env={"SEEDS": seeds})
    _join(first, by_flag, by_variable, names=("n1", "n2", "n3"))
    alone.wait_for_view("n4")


def check_flag_http_off(ground):
    broker = ground.start(1, "--name", "a", "--http", "off")
    broker.wait_for_view("a")
    check_equal({each for each in broker.sockets() if "tcp" in each}, {f"tcp {broker.place.ip}:8001"}, "TCP ports")


def check_flag_log_file(ground):
    """The lines of stderr are in the file, too; without the flag there is no file."""
    by_flag = ground.start(1, "--name", "a", "--data", "d", "--log-file", "--cluster", "a", cluster="a")
    file = _write_yaml(ground.run, "log.yaml", {"log.file": "true"})
    by_file = ground.start(2, "--name", "b", "--data", "d", "--config", file, "--cluster", "b", cluster="b")
    without = ground.start(3, "--name", "c", "--data", "d", "--cluster", "c", cluster="c")
    for broker, name in ((by_flag, "a"), (by_file, "b"), (without, "c")):
        broker.wait_for_view(name)
        broker.process.send_signal(signal.SIGTERM)
        broker.process.succeed(10)
        path = os.path.join(broker.folder, "d", "logstream.log")
        check_equal(os.path.exists(path), broker is not without, f"whether {path} is there")
        if broker is without:
            continue
        with open(path, encoding="utf-8") as lines:
            check_equal(lines.read(), broker.process.errors(), "lines of the file")
        check("ClusterState view=1" in broker.process.errors(), "the broker logs no ClusterState")


def check_flag_log_level_debug(ground):
    """What replication asks for again after a loss is told at level debug, and not at the default."""
    loud = [ground.start(host, "--name", f"n{host}", "--log-level", "debug") for host in (1, 2)]
    quiet = [ground.start(host, "--name", f"n{host}", "--cluster", "quiet", cluster="quiet") for host in (3, 4)]
    for brokers, names in ((loud, ("n1", "n2")), (quiet, ("n3", "n4"))):
        for status in _join(*brokers, names=names):
            check_equal(status["transport"], "multicast", "transport")
        for broker in brokers:
            ground.network.lose(int(broker.place.name[1:]), f"{FRAMES} numgen inc mod 3 == 0")
        words = ["--message", "x", "--count", 60, "--interval", 5, "--linger", 0, "--topic", "t"]
        brokers_flag = ["--brokers", f"{brokers[0].place.ip}:8001"]
        producer = [ground.run.program("producer"), *words, *brokers_flag, "--cluster", brokers[0].cluster]
        ground.run.start(ground.place(ground.network.client), list(map(str, producer))).succeed(20)
        resent = sum(broker.status()["replication"]["frames_resent"] for broker in brokers)
        check(resent > 0, f"nothing was sent again by {names}")
    check("D REPLICATE" in "".join(broker.process.errors() for broker in loud), "no line of level debug")
    check("D" not in "".join(broker.levels() for broker in quiet), "lines of level debug without --log-level debug")


def check_flag_set(ground):
    """Any key; several; of two for one setting the later wins, whether it is by --set or by a flag of its own."""
    words = ["--set", "storage.fsync=never", "--set", "topics.partitions=3"]
    words += ["--set", "node.name=x", "--name", "a", "--cluster", "x", "--set", "cluster.name=a"]
    file = _write_yaml(ground.run, "set.yaml", {"storage.fsync": "interval", "topics.partitions": "5"})
    broker = ground.start(1, *words, "--config", file, cluster="a")
    check_equal(broker.wait_for_view("a")["fsync"], "never", "fsync policy")
    metadata = wire.protobuf("Metadata")
    metadata.topics.append("made")
    metadata.auto_create = True

    def partitions():
        answer = broker.ask("METADATA", metadata).topics[0]
        return answer.settings.partitions, str(answer)

    check_equal(wait_until(partitions, 10, "a topic is made"), 3, "partitions of a topic that is made")


def check_flag_help_and_version(ground):
    code, out, err = ground.exit_of("--help")
    check_equal((code, err), (0, ""), "exit code and stderr of --help")
    for key, variable, flag in NAMES:
        check(re.search(rf"(?m)^ +{flag} .*\(\${variable}\)$", out), f"--help does not explain {flag} and ${variable}")
    for flag in ("--config", "--log-file", "--set", "--version"):
        check(re.search(rf"(?m)^ +{flag}\b", out), f"--help does not explain {flag}")
    check("Examples:" in out, "--help has no examples")
    code, out, err = ground.exit_of("--version")
    check_equal((code, err), (0, ""), "exit code and stderr of --version")
    check(re.fullmatch(r"logstream \d+\.\d+\.\d+\S*\n", out), f"--version prints {out!r}")


def check_flag_wrong_usage(ground):
    """Exit code 2 for what stands on the command line, 1 for the file and the variables; said is what was expected."""
    for words, pattern in (
        (["--brodcast-port", "1"], "unknown flag '--brodcast-port'.*--broadcast-port"),
        (["--address", "here"], "--address: expected IP:PORT or PORT"),
        (["--multicast", "10.0.0.1:9999"], "--multicast: expected GROUP:PORT"),
        (["--broadcast-port", "70000"], "--broadcast-port: expected a port"),
        (["--seeds", "n1"], "--seeds: expected HOST:PORT"),
        (["--name", "a b"], "--name: expected a name"),
        (["--http", "on"], "--http: expected IP:PORT or off"),
        (["--log-level", "loud"], "--log-level: expected one of trace, debug, info"),
        (["--set", "storage.fsinc=never"], "unknown key 'storage.fsinc'.*storage.fsync"),
        (["--set", "storage.fsync"], "KEY=VALUE"),
        (["--set", "storage.fsync=often"], "storage.fsync: expected one of group, interval, never"),
        (["--address", "8888"], "two different ports"),
        (["one", "two"], "unexpected argument"),
    ):
        code, out, said = ground.exit_of(*words)
        check_equal((code, out), (2, ""), f"exit code and stdout of logstream {' '.join(words)}; it says {said!r}")
        check(re.search(pattern, said), f"logstream {' '.join(words)}: expected {pattern!r}, found {said!r}")
    code, _, said = ground.exit_of(env={"BROADCAST_PORT": "x"})
    check_equal(code, 1, "exit code with a bad variable")
    check("environment BROADCAST_PORT: expected a port" in said, said)
    file = ground.run.write("bad.yaml", [b"failure:", b"  phi_fail: 7"])  # below phi_suspect
    code, _, said = ground.exit_of("--config", file)
    check_equal(code, 1, "exit code with a bad file")
    check(f"{file}:2: expected phi_suspect to be at most phi_fail" in said, said)
    code, _, said = ground.exit_of("--config", "none.yaml")
    check_equal(code, 1, "exit code with a file that is not there")
    check("none.yaml" in said, said)


def check_flag_config_as_documented(ground):
    """deploy/logstream.yaml as it is changes nothing: with it and without it brokers find each other and work."""
    file = os.path.join(ground.run.project, "deploy", "logstream.yaml")
    given, plain = ground.start(1, "--config", file), ground.start(2)
    statuses = _join(given, plain, names=(DEFAULT_NAME, DEFAULT_NAME))
    check_equal([status["transport"] for status in statuses], ["multicast"] * 2, "transports")

    def shown(broker, status):
        own = {socket_.replace(broker.place.ip, "") for socket_ in broker.sockets()}
        return own, broker.groups(), status["fsync"], status["disk"]["dir"], status["cluster"], broker.levels()

    check_equal(shown(given, statuses[0]), shown(plain, statuses[1]), "what shows from outside")
