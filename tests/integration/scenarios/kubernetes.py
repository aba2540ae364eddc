"""What deploy/kubernetes counts on: no broadcast and no multicast, names that resolve late, and brokers that come back on
another machine with another address, and the volume that they had."""

import os
import textwrap
import uuid
from dataclasses import replace

from checks import Stopwatch, check, check_equal
from client import Load, compare_lines
from scenario import Need, scenario

NAMES = ["logstream-0.logstream", "logstream-1.logstream", "logstream-2.logstream"]
# The program sees its own files in place of these two.
OWN_FILES = 'mount --bind "$0/hosts" /etc/hosts && mount --bind "$0/machine-id" /etc/machine-id && exec "$@"'


@scenario("kubernetes", Need.HOSTS, Need.OWN_FILES)
def kubernetes(run):
    network = run.network(3)
    for host in range(1, network.client + 1):
        network.lose(host, "ether type ip pkttype { broadcast, multicast }")
    cluster = run.cluster(3, network, name="logstream")
    settings = _shipped_settings(run)
    names = Names(run, cluster)
    for broker in cluster.brokers:
        names.tell(broker, [])
        broker.start("--config", settings)
    late = _start_late(cluster, names)
    ids = {broker: broker.status()["node"] for broker in cluster.brokers}

    topic, owner = cluster.topic_owned_by(lambda broker: broker is not cluster.leader())
    load = Load(cluster, topic)
    load.reach_random_moment()
    owner.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not owner])
    moved = _come_back(cluster, names, settings, {owner: "10.77.0.104"}, ids)
    gap = load.finish()

    for broker in cluster.brokers:
        broker.stop()
    first, second, third = cluster.brokers
    swapped = {first: second.place.ip, second: third.place.ip, third: first.place.ip}
    all_moved = _come_back(cluster, names, settings, swapped, ids)
    compare_lines(cluster.read(topic), load.lines, "read after all had changed their addresses")
    cluster.verify()
    return (
        f"one view by TCP {late:.1f} s after the names were there; the owner came back on another machine and address with "
        f"its identity and its data after {moved:.1f} s, write gap {gap:.0f} ms; all three, with each other's addresses, "
        f"after {all_moved:.1f} s"
    )


def _shipped_settings(run):
    """The file of settings in deploy/kubernetes; its path."""
    path = os.path.join(run.project, "deploy", "kubernetes", "logstream.yaml")
    with open(path, encoding="utf-8") as file:
        text = file.read().partition("  logstream.yaml: |\n")[2].partition("---\n")[0]
    check("identity: volume" in text and all(name in text for name in NAMES), f"{path} has other settings: {text}")
    return run.write("logstream.yaml", [line.encode() for line in textwrap.dedent(text).splitlines()])


class Names:
    """What each broker's machine can look up, and which machine it is."""

    def __init__(self, run, cluster):
        self._names = dict(zip(cluster.brokers, NAMES))
        self._folders = {}
        for broker in cluster.brokers:
            folder = self._folders[broker] = os.path.join(run.folder, f"{broker.name}-etc")
            os.makedirs(folder)
            self.move(broker)
            own = ["unshare", "--mount", "sh", "-c", OWN_FILES, folder]
            broker.place = replace(broker.place, prefix=broker.place.prefix + own)

    def move(self, broker):
        """Its next start is on another machine."""
        self._write(broker, "machine-id", [uuid.uuid4().hex])

    def tell(self, broker, known):
        self._write(broker, "hosts", [f"{each.place.ip} {self._names[each]}" for each in known])

    def tell_all(self):
        for broker in self._folders:
            self.tell(broker, self._folders)

    def _write(self, broker, name, lines):
        # The file itself stays: it is mounted.
        with open(os.path.join(self._folders[broker], name), "w", encoding="ascii") as file:
            file.writelines(f"{line}\n" for line in lines)


def _start_late(cluster, names):
    """The brokers wait while no name stands for anything, and while only their own one does."""
    for broker in cluster.brokers:
        cluster.wait_until(broker.status, 20, f"{broker} answers")
        check(not broker.status()["quorum"], f"{broker} has begun a cluster by itself, in spite of cluster.expect")
        check(broker.log_matches("waits for a seed"), f"{broker} says not that it waits for a seed")
        names.tell(broker, [broker])
        broker.process.wait_for_words(rf"DISCOVERY the seeds are {broker.address}", 20)
        check(not broker.status()["quorum"], f"{broker} has begun a cluster by itself, once it knew its own name")
    watch = Stopwatch()
    names.tell_all()
    cluster.wait_for_view(cluster.brokers, seconds=40)
    for broker in cluster.brokers:
        check_equal(broker.status()["transport"], "tcp", f"transport that {broker} names")
    return watch.seconds


def _come_back(cluster, names, settings, addresses, ids):
    """Starts brokers on other machines, at other addresses; how long it took until all are one view of the members that there were."""
    for broker, ip in addresses.items():
        _give_address(broker, ip)
        names.move(broker)
    for place in (cluster.client_place, *(broker.place for broker in cluster.brokers)):
        place.run(["ip", "neigh", "flush", "dev", "eth0"])  # who had these addresses before
    names.tell_all()
    watch = Stopwatch()
    for broker in addresses:
        broker.start("--config", settings)
    cluster.wait_for_view(cluster.brokers, seconds=40)
    for broker in cluster.brokers:
        check_equal(broker.status()["node"], ids[broker], f"identity of {broker}")
    return watch.seconds


def _give_address(broker, ip):
    old, port = broker.place.ip, broker.place.port
    host = broker.place
    host.run(["ip", "address", "delete", f"{old}/24", "dev", "eth0"])
    host.run(["ip", "address", "add", f"{ip}/24", "broadcast", "10.77.0.255", "dev", "eth0"])
    host.run(["ip", "route", "replace", "224.0.0.0/4", "dev", "eth0"])  # it went with the last address
    broker.place, broker.address = replace(host, ip=ip), f"{ip}:{port}"
