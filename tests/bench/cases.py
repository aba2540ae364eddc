"""What is measured. A case asks for the brokers that it needs; those that need the same ones share them."""

import json
import os
import re
import signal
import statistics
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from logstream import LogStream
from peers import PEERS
from processes import Failure, Usage, run, wait_until

QUICK, FULL, LONG = range(3)


@dataclass(frozen=True)
class Bed:
    """Which brokers, on which network; None: the network alone."""

    system: type | None = LogStream
    brokers: int = 3
    offload: bool = True
    settings: tuple = ()
    fresh: str = ""  # not shared with a bed of another word here


@dataclass
class Case:
    name: str
    what: str
    measure: Callable  # of the brokers (of the network where the bed has none); the fields of the result
    bed: Bed = Bed()
    when: int = FULL


def _load(*flags):
    """One run of logstream-bench, and what it cost the brokers."""

    def measure(brokers):
        with Usage(brokers.pids) as usage:
            result = brokers.load(*flags)
        millions = result["acknowledged"] / 1e6
        cost = {"server_cpu_s": round(usage.cpu_seconds, 2), "server_resident_mib": usage.resident_mib}
        if millions > 0:
            cost["server_cpu_s_per_million"] = round(usage.cpu_seconds / millions, 3)
        return result | cost

    return measure


def _read_back(brokers):
    """What was written right before: from the page cache, as far as it stays there."""
    size = ["--topic", "read-back", "--record-bytes", 1024]
    brokers.load(*size, "--duration", min(brokers.bench.seconds, 5), "--warmup", 0)
    return _load(*size, "--producers", 0, "--consumers", 1, "--warmup", 0)(brokers)


def _many_topics(brokers):
    """Of the 1,000 connections those that the producers do not make are made beside, and say nothing."""
    topics, active, producers, connections = 10_000, 1000, 64, 1000
    idle = connections - producers * len(brokers.addresses)
    script = os.path.join(os.path.dirname(__file__), "idle_clients.py")
    clients = subprocess.Popen(
        [*brokers.network.load_at, "python3", script, str(idle), *brokers.addresses],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    try:
        if not clients.stdout.readline():
            raise Failure(f"{idle} connections can't be made")
        flags = ["--topic", "many", "--topics", topics, "--active", active, "--producers", producers]
        return _load(*flags)(brokers) | {"active_topics": active, "connections": connections}
    finally:
        clients.communicate()


def _wire(brokers):
    """What leaves the owner for its followers, of a topic of 1 KiB records."""
    size = 1024
    brokers.ctl("topics", "create", "wire")
    owner = brokers.owner("wire")
    brokers.network.count_from(owner)
    result = brokers.load("--topic", "wire", "--record-bytes", size)
    udp, tcp = brokers.network.counted()
    payload = result["acknowledged"] * size
    return {
        "followers": len(brokers.addresses) - 1,
        "payload_bytes": payload,
        "wire_per_payload_byte": round(udp / payload, 4),
        "tcp_per_payload_byte": round(tcp / payload, 4),
        "mb_per_s": result["mb_per_s"],
    }


def _kill(brokers, host):
    os.kill(brokers.pid(host), signal.SIGKILL)


def _terminate(brokers, host):
    os.kill(brokers.pid(host), signal.SIGTERM)


def _cut(brokers, host):
    brokers.network.cut(host)


def _roles(brokers, topics):
    """A topic whose owner is not the leader: (topic, {role: host})."""
    status = brokers.status()
    leader = brokers.host_of(status["leader"], status)
    for topic in topics:
        owner = brokers.owner(topic)
        if owner != leader:
            follower = next(host for host in brokers.hosts if host not in (leader, owner))
            return topic, {"leader": leader, "owner": owner, "follower": follower}
    raise Failure(f"the leader owns all of {len(topics)} topics")


def _gap(role, fault):
    """The longest time between two acknowledgements of a producer with one record in flight, over some rounds."""

    def measure(brokers):
        topics = [f"gap-{i}" for i in range(8)]
        known = {topic["name"] for topic in json.loads(brokers.ctl("topics", "--json"))["topics"]}
        for topic in topics:
            if topic not in known:
                brokers.ctl("topics", "create", topic)
        gaps = []
        for _ in range(brokers.bench.rounds):
            topic, roles = _roles(brokers, topics)
            load = brokers.start_load(
                *("--topic", topic, "--window", 1, "--linger", 0, "--duration", 4, "--warmup", 0.5)
            )
            time.sleep(1.5)
            fault(brokers, roles[role])
            gaps.append(brokers.finish_load(load)["longest_gap_us"] / 1000)
            if fault is _cut:
                brokers.network.mend()
            brokers.start()
        return {"rounds_ms": gaps, "gap_ms": {"median": statistics.median(gaps), "worst": max(gaps)}}

    return measure


_STORED_BYTES = 10 * 10**9


def _fill(brokers, *flags):
    """Until that much lies on the brokers' disks."""
    while brokers.stored_bytes() < _STORED_BYTES:
        brokers.load(*flags, "--record-bytes", 1024, "--duration", 5, "--warmup", 0)


def _start(kill):
    """The time until a record is acknowledged by brokers that have just been started with much on their disks."""

    def measure(brokers):
        _fill(brokers, "--topic", "stored")
        brokers.stop(kill=kill)
        begin = time.monotonic()
        brokers.start()
        brokers.append("stored")
        return {"stored_bytes": brokers.stored_bytes(), "start_s": round(time.monotonic() - begin, 2)}

    return measure


def _view_change(brokers):
    """How long the survivors stand still, by their logs, when one of three dies."""
    _fill(brokers, "--topic", "view", "--topics", 1000, "--producers", 8)
    _, roles = _roles(brokers, [f"view-{i}" for i in range(20)])
    seen = {host: len(brokers.log(host)) for host in brokers.hosts}
    _kill(brokers, roles["follower"])

    def frozen_ms(host):
        found = re.search(
            r"(?ms)^(\S+) \w VIEW freeze .*?^(\S+) \w ClusterState view=\d+ leader", brokers.log(host)[seen[host] :]
        )
        if not found:
            return None
        frozen, served = map(datetime.fromisoformat, found.groups())
        return (served - frozen).total_seconds() * 1000

    def all_frozen_ms():
        times = [frozen_ms(roles[role]) for role in ("leader", "owner")]
        return times if None not in times else None

    frozen = wait_until(all_frozen_ms, 30, "both survivors log that they froze and went on")
    return {"topics": 1000, "stored_bytes": brokers.stored_bytes(), "frozen_ms": frozen}


def _steady(brokers):
    """The most that a broker held in each of ten minutes of full load, old segments being dropped all the time."""
    load = brokers.start_load("--duration", 600, "--warmup", 0)
    minutes = []
    for _ in range(10):
        with Usage(brokers.pids) as usage:
            time.sleep(60)
        minutes.append(max(usage.resident_mib))
    result = brokers.finish_load(load)
    return {"acknowledged": result["acknowledged"], "resident_mib_by_minute": minutes}


def _limits(network):
    bench = network.bench
    where = ["--network", network.name] if hasattr(network, "name") else []
    words = [bench.program("logstream-bench"), "--limits", "--json", "--dir", bench.folder, *where]
    return json.loads(run(words))


def _parts(network):
    bench = network.bench
    words = [bench.program("logstream-parts"), "--benchmark_format=json", "--benchmark_min_time=0.2"]
    told = json.loads(run(words, env=os.environ | {"TMPDIR": bench.folder}))["benchmarks"]
    unit_ns = {"ns": 1, "us": 1e3, "ms": 1e6}
    return {
        "parts": {
            each["name"].removesuffix("/real_time"): {
                "ns": round(each["real_time"] * unit_ns[each["time_unit"]], 1),
                "mb_per_s": round(each.get("bytes_per_second", 0) / 1e6, 1),
                "items_per_s": round(each.get("items_per_second", 0)),
            }
            for each in told
        }
    }


def _peer(load):
    return lambda peer: peer.measure(load) | {"system": peer.name, "durability": peer.durability}


def _all():
    one = ["--window", 1, "--linger", 0]
    yield Case("limits", "what this machine could do", _limits, Bed(system=None))
    yield Case("parts", "single parts of the program", _parts, Bed(system=None))
    yield Case("one-in-flight", "one record in flight, flushed", _load(*one), when=QUICK)
    # Before the others' topics are removed: a disk that gives back gigabytes is slow to flush.
    yield Case("end-to-end", "1,000 records/s to a reader", _load("--rate", 1000, "--consumers", 1, "--linger", 0))
    yield Case("100B", "100-byte records", _load(), when=QUICK)
    yield Case("1KiB", "1 KiB records", _load("--record-bytes", 1024), when=QUICK)
    yield Case("paced-5000", "5,000 records/s and a reader", _load("--rate", 5000, "--consumers", 1), when=QUICK)
    yield Case("four-producers", "four producers", _load("--producers", 4, "--partitions", 4), when=QUICK)
    yield Case("with-consumer", "100-byte records and a reader", _load("--consumers", 1), when=QUICK)
    yield Case("read-back-disk", "a reader, mostly from disk", _read_back)
    all_in_memory = Bed(settings=("storage.page_cache_bytes=unlimited",))
    yield Case("read-back", "a reader, from memory", _read_back, all_in_memory)
    never = Bed(settings=("storage.fsync=never",))
    yield Case("one-in-flight-unflushed", "one record in flight, fsync: never", _load(*one), never)
    for role in ("leader", "owner", "follower"):
        yield Case(f"gap-kill-{role}", f"kill -9 of the {role}", _gap(role, _kill), Bed(fresh="gap"))
    yield Case("gap-cut", "the owner cut off", _gap("owner", _cut), Bed(fresh="gap"))
    yield Case("gap-terminate", "SIGTERM to the owner", _gap("owner", _terminate), Bed(fresh="gap"))
    for followers in (2, 4, 6):
        bed = Bed(brokers=followers + 1, offload=False)
        yield Case(f"wire-{followers}", f"the owner's bytes on the wire, {followers} followers", _wire, bed)
    yield Case("many-topics", "10,000 topics, 1,000 of them written to", _many_topics, Bed(fresh="many"))
    yield Case("limits-again", "and what it could do by then", _limits, Bed(system=None))
    for peer in PEERS:
        for load in ("100B", "1KiB", "one-in-flight", "end-to-end"):
            yield Case(f"{peer.name}/{load}", f"{peer.name}: {load}", _peer(load), Bed(system=peer))
    yield Case("start-clean", "start with 10 GB after a clean stop", _start(kill=False), Bed(fresh="start"), LONG)
    yield Case("start-killed", "start with 10 GB after kill -9", _start(kill=True), Bed(fresh="start"), LONG)
    yield Case("view-change", "a view change with 1,000 topics", _view_change, Bed(fresh="view"), LONG)
    few = Bed(settings=("storage.retention.bytes=1GiB",))
    yield Case("steady", "ten minutes of full load", _steady, few, LONG)


CASES = list(_all())
