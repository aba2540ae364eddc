"""Many faults at once, drawn at random, on five real brokers, under a load that the simulator's checkers judge."""

import os
import re
import signal
import time
from collections import Counter

from checks import Stopwatch, check
from scenario import Need, scenario

VIEW_LIMIT = 10  # seconds from the end of the last fault to one view of all
SETTLE_SECONDS = 90
SUMMARY = re.compile(
    r"(?P<acknowledged>\d+) acknowledged, .* longest time without an acknowledgement (?P<gap>[\d.]+) s"
)


class Nemesis:
    """Draws faults and undoes them later. A fault is a function that does it and returns what undoes it, or None when it
    does not fit now."""

    MOST_DOWN = 2  # of five; rarely more
    PAUSE = (0.1, 2.5)  # seconds from one fault to the next
    OUTAGE = (0.1, 8.0)  # seconds that one lasts

    def __init__(self, run, cluster):
        self.cluster, self.network, self.random = cluster, cluster.network, run.random
        self.counts = Counter()
        self._down = set()  # brokers that are dead or stand still
        self._apart = set()  # brokers on the smaller side of a cut
        self._network_is_faulty = False
        self._narrowed = set()
        self._undo = []  # (when, what)
        self._next = 0.0
        self._watch = Stopwatch()
        self._log = open(os.path.join(run.folder, "faults.log"), "w", encoding="utf-8", buffering=1)
        self._kinds = {
            self._kill: 6,
            self._pause: 6,
            self._restart: 3,
            self._isolate: 3,
            self._split: 3,
            self._cut_link: 3,
            self._cut_one_way: 3,
            self._lose: 3,
            self._narrow: 1.5,
            self._kill_all: 3,  # fits seldom: all must be up
        }

    def look(self):
        """Does and undoes what is due; to be called again and again."""
        now = self._watch.seconds
        for entry in [entry for entry in self._undo if entry[0] <= now]:
            self._undo.remove(entry)
            entry[1]()
        if now >= self._next:
            kind = self.random.choices(list(self._kinds), list(self._kinds.values()))[0]
            undo = kind()
            if undo:
                self.counts[kind.__name__[1:].replace("_", " ")] += 1
                self._undo.append((now + self.random.uniform(*self.OUTAGE), undo))
                self._next = now + self.random.uniform(*self.PAUSE)

    def finish(self):
        """Undoes everything that is still done."""
        for _, undo in self._undo:
            undo()
        self._undo.clear()
        self._say("everything is healed")
        self._log.close()

    def _say(self, what):
        self._log.write(f"{time.strftime('%H:%M:%S')}.{time.time_ns() // 1_000_000 % 1000:03} {what}\n")

    def _victim(self):
        """A broker that may fail without taking the majority along, or, rarely, any that runs."""
        well = [broker for broker in self.cluster.brokers if broker not in self._down]
        if len(self._down | self._apart) >= self.MOST_DOWN and self.random.random() > 0.05:
            well = [broker for broker in well if broker in self._apart] if len(self._down) < self.MOST_DOWN else []
        return self.random.choice(well) if well else None

    def _start(self, broker):
        self._say(f"start {broker}")
        broker.start()
        self._down.discard(broker)

    def _kill(self):
        broker = self._victim()
        if not broker:
            return None
        self._say(f"kill {broker}")
        broker.kill()
        self._down.add(broker)
        return lambda: self._start(broker)

    def _restart(self):
        """In order: it hands over what it owns, and says that it goes."""
        broker = self._victim()
        if not broker or not broker.log_matches("NODE start"):  # a signal would end it as it begins
            return None
        self._say(f"stop {broker}")
        broker.terminate()
        self._down.add(broker)

        def start():
            code = broker.process.wait(20)
            check(code == 0, f"{broker} exits {code} on SIGTERM: {broker.process.last_words()}")
            self._start(broker)

        return start

    def _pause(self):
        broker = self._victim()
        if not broker:
            return None
        self._say(f"pause {broker}")
        broker.pause()
        self._down.add(broker)

        def resume():
            self._say(f"resume {broker}")
            broker.resume()
            self._down.discard(broker)

        return resume

    def _kill_all(self):
        if self._down:
            return None
        self._say("kill all")
        for broker in self.cluster.brokers:
            broker.signal_kill()
        for broker in self.cluster.brokers:
            broker.process.wait(10)
        self._down.update(self.cluster.brokers)
        order = self.random.sample(self.cluster.brokers, len(self.cluster.brokers))
        now = self._watch.seconds
        for broker in order[1:]:
            self._undo.append((now + self.random.uniform(*self.OUTAGE), lambda broker=broker: self._start(broker)))
        return lambda: self._start(order[0])

    def _break_network(self, what, fault, apart=()):
        """`fault` cuts or loses; None when the network is broken already."""
        if self._network_is_faulty or len(self._down | set(apart)) > self.MOST_DOWN:
            return None
        self._say(what)
        fault()
        self._network_is_faulty, self._apart = True, set(apart)

        def heal():
            self._say("heal the network")
            self.network.heal()
            self._network_is_faulty, self._apart = False, set()

        return heal

    def _isolate(self):
        broker = self.random.choice(self.cluster.brokers)
        others = [other.number for other in self.cluster.brokers if other is not broker]
        alone = self.random.random() < 0.5
        fault = lambda: self.network.cut(broker.number, None if alone else others)
        return self._break_network(f"isolate {broker}{' from clients too' if alone else ''}", fault, [broker])

    def _split(self):
        few = self.random.sample(self.cluster.brokers, 2)
        many = [broker.number for broker in self.cluster.brokers if broker not in few]

        def fault():
            for broker in few:
                self.network.cut(broker.number, many)

        return self._break_network(f"split {few[0]} {few[1]} | {many}", fault, few)

    def _cut_link(self):
        one, other = self.random.sample(self.cluster.brokers, 2)
        fault = lambda: self.network.cut(one.number, [other.number])
        return self._break_network(f"cut {one} – {other}", fault, [one])

    def _cut_one_way(self):
        one, other = self.random.sample(self.cluster.brokers, 2)
        fault = lambda: self.network.cut_one_way(one.number, other.number)
        return self._break_network(f"cut {one} → {other}", fault, [one])

    def _lose(self):
        percent = self.random.choice([1, 5, 20])
        victims = self.random.sample(self.cluster.brokers, self.random.randint(1, 5))
        which = self.random.choice(["ip protocol udp ", "udp dport 9999 ", ""])

        def fault():
            for broker in victims:
                self.network.lose(broker.number, f"{which}numgen random mod 100 < {percent}")

        return self._break_network(f"lose {percent}% of {which or 'all '}to {victims}", fault)

    def _narrow(self):
        """What goes to one broker waits in a queue for a slow line: it is late, and lost when the queue is full."""
        broker, rate = self.random.choice(self.cluster.brokers), self.random.choice(["300kbit", "1mbit", "4mbit"])
        if broker in self._narrowed:
            return None
        self._say(f"narrow the line to {broker} to {rate}")
        self.network.narrow(broker.number, rate)
        self._narrowed.add(broker)

        def widen():
            self._say(f"widen the line to {broker}")
            self.network.widen(broker.number)
            self._narrowed.discard(broker)

        return widen


@scenario("chaos", Need.HOSTS, default=False)
def chaos(run):
    cluster = run.cluster(5).start()
    before = cluster.wait_for_view()["view"]
    load = start_load(cluster, "--settle", SETTLE_SECONDS, "--seed", run.random.randrange(1 << 32))
    load.wait_for_words("seed", 20)
    nemesis, watch = Nemesis(run, cluster), Stopwatch()
    limit = run.time_limit(30, 600)

    def over():
        nemesis.look()
        check(load.running, f"logstream-chaos ended early: {load.last_words()}")
        return watch.seconds >= limit

    cluster.wait_until(over, limit + 60, "the time is over")
    nemesis.finish()
    watch = Stopwatch()
    changes = cluster.wait_for_view(cluster.brokers, seconds=VIEW_LIMIT)["view"] - before
    healed = watch.seconds
    summary = judge(load)
    cluster.wait_for_view(cluster.brokers)
    cluster.verify()
    faults = ", ".join(f"{count} {name}" for name, count in sorted(nemesis.counts.items()))
    return (
        f"{sum(nemesis.counts.values())} faults ({faults}), {changes} view changes, {summary[0]}; "
        f"one view {healed:.1f} s after the last fault"
    )


def start_load(cluster, *flags):
    brokers = ",".join(broker.address for broker in cluster.brokers)
    words = [cluster.run.program("logstream-chaos"), "--brokers", brokers, "--cluster", cluster.name, *map(str, flags)]
    return cluster.run.start(cluster.client_place, words, name="chaos")


def judge(load):
    """Ends the load; the checkers must be content. Its summary."""
    load.send_signal(signal.SIGTERM)
    code = load.wait(4 * SETTLE_SECONDS)
    told = load.output().decode()
    found = SUMMARY.search(told)
    check(code == 0 and found, f"logstream-chaos exits {code}: {told.strip() or load.last_words()}")
    return found
