"""The brokers of a scenario: started, stopped, killed, paused, cut off; what they say of themselves."""

import ipaddress
import json
import os
import re
import signal

import client
import wire
from checks import Failure, check, wait_until

VIEW_SECONDS = 20  # looser than any view change: for a state that must come


class Broker:
    def __init__(self, cluster, number, place):
        self.cluster, self.number, self.place = cluster, number, place
        self.name = place.name
        self.address = place.address
        self.data = os.path.join(cluster.run.folder, cluster.name, self.name)
        self.program = "logstream"
        self.environment = {}  # more of it than the tests' own
        self.process = None
        self.id = None  # once it said so
        self._down = True  # on purpose

    def __repr__(self):
        return self.name

    def command(self, *flags):
        cluster, network = self.cluster, self.cluster.network
        given = {
            "--address": self.address,
            "--data": self.data,
            "--name": self.name,
            "--cluster": cluster.name,
            "--broadcast-port": network.broadcast_port,
            "--multicast": network.multicast,
        } | network.broker_flags
        given = {flag: value for flag, value in given.items() if flag not in flags and value is not None}
        words = [word for pair in given.items() for word in pair]
        words += [word for key, value in cluster.settings.items() for word in ("--set", f"{key}={value}")]
        return [cluster.run.program(self.program), *map(str, words), *map(str, flags)]

    def start(self, *flags):
        check(self._down or not self.running, f"{self.name} runs already")
        if self.process:
            self.process.wait(10)  # nobody has waited for one that was killed
        name = f"{self.cluster.name}-{self.name}"
        self.process = self.cluster.run.start_broker(self.place, self.command(*flags), name, self.environment)
        self._down = False
        return self

    @property
    def running(self):
        return self.process is not None and self.process.running

    @property
    def pid(self):
        return self.process.pid

    def check_alive(self):
        if not self._down and not self.process.running:
            raise Failure(f"broker {self.name} ended by itself with {self.process.code}: {self.process.last_words()}")

    def signal_kill(self):
        """kill -9, without waiting."""
        self._down = True
        self.process.send_signal(signal.SIGKILL)

    def kill(self):
        self.signal_kill()
        self.process.wait(10)

    def end_by_itself(self, seconds):
        """Waits until it does; its exit code."""
        self._down = True
        return self.process.wait(seconds)

    def terminate(self):
        """SIGTERM, without waiting."""
        self._down = True
        self.process.send_signal(signal.SIGTERM)

    def stop(self, seconds=10):
        """Leaves in order."""
        self.terminate()
        code = self.process.wait(seconds)
        check(code == 0, f"{self.name} exits {code} on SIGTERM: {self.process.last_words()}")

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def ask(self, kind, request, body=b"", seconds=2, at=None):
        """One request, straight over the wire, from its own host or another place; a decoded message. OSError when it
        does not answer."""
        with (at or self.place).connect((self.place.ip, self.place.port), seconds) as connection:
            return wire.ask(connection, self.cluster.tag, kind, request, body)

    def status(self):
        """Its status JSON; None while it does not answer."""
        try:
            status = json.loads(self.ask("STATUS", wire.protobuf("Status"), seconds=1).parse().json)
        except OSError:
            return None
        self.id = status["node"]
        return status

    def resident_bytes(self):
        with open(f"/proc/{self.pid}/statm", encoding="ascii") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    def log(self):
        """What this run of the broker has logged."""
        return self.process.errors()

    def log_matches(self, pattern):
        return re.findall(pattern, self.log())


class Cluster:
    def __init__(self, run, network, numbers, name, settings):
        self.run, self.network, self.name, self.settings = run, network, name, settings
        self.tag = wire.cluster_tag(name)
        self.brokers = [Broker(self, number, network.place(number)) for number in numbers]
        self.client_place = network.place(network.client)

    def start(self):
        """Starts all and waits until they are one view."""
        for broker in self.brokers:
            broker.start()
        self.wait_for_view()
        return self

    def running(self):
        return [broker for broker in self.brokers if not broker._down]

    def wait_until(self, condition, seconds, what):
        """Like checks.wait_until, and fails at once when a broker ends by itself."""

        def look():
            for broker in self.brokers:
                broker.check_alive()
            return condition()

        return wait_until(look, seconds, what)

    def wait_for_view(self, brokers=None, seconds=VIEW_SECONDS):
        """Waits until these (default: all that run), and nobody else, are one view that accepts writes; its status."""
        brokers = brokers or self.running()
        names = ", ".join(broker.name for broker in brokers)

        def one_view():
            statuses = [broker.status() for broker in brokers]
            text = "; ".join(f"{broker.name}: {describe(status)}" for broker, status in zip(brokers, statuses))
            if not all(status and status["quorum"] for status in statuses):
                return None, text
            same = len({(status["cluster_id"], status["view"], status["leader"]) for status in statuses}) == 1
            members = {member["id"] for member in statuses[0]["members"] if member["role"] != "learner"}
            return statuses[0] if same and members == {broker.id for broker in brokers} else None, text

        return self.wait_until(one_view, seconds, f"{names} are one view")

    def by_id(self, identity):
        for broker in self.brokers:
            if broker.id == identity:
                return broker
        raise Failure(f"no broker of this cluster has the id {identity}")

    def leader(self):
        return self.by_id(self.wait_for_view()["leader"])

    def owner(self, topic, partition=0):
        """Who orders the stream now, as the brokers themselves say by REASSIGN_BROKER."""

        def look():
            for broker in self.running():
                metadata, list_offsets = wire.protobuf("Metadata"), wire.protobuf("ListOffsets")
                metadata.topics.append(topic)
                known = broker.ask("METADATA", metadata).parse()
                if known.topics[0].error.code:
                    continue
                list_offsets.cluster_id, list_offsets.topic = known.cluster_id, known.topics[0].topic
                list_offsets.partition, list_offsets.timestamp_ms = partition, -1
                answer = broker.ask("LIST_OFFSETS", list_offsets)
                if answer.type == "REASSIGN_BROKER":
                    owner = answer.parse().owner
                    return self._by_address(owner)
                if not answer.parse().error.code:
                    return broker
            return None

        return self.wait_until(look, VIEW_SECONDS, f"the owner of {topic}/{partition} is known")

    def _by_address(self, member):
        ip = ipaddress.ip_address(member.ip6 or member.ip)
        at = (str(ip), member.port)
        return next((broker for broker in self.brokers if (broker.place.ip, broker.place.port) == at), None)

    def create_topic(self, name, partitions=1):
        request = wire.protobuf("Topics")
        request.action, request.name, request.settings.partitions = request.CREATE, name, partitions

        def create():
            answer = self.running()[0].ask("TOPICS", request, seconds=10).parse()
            return answer.topics, answer.error.message

        self.wait_until(create, VIEW_SECONDS, f"topic {name} is there")
        return name

    def topic_owned_by(self, wanted, prefix="topic"):
        """Makes a topic whose owner fits; its name and its owner."""
        for number in range(100):
            name = self.create_topic(f"{prefix}-{number}")
            owner = self.owner(name)
            if wanted(owner):
                return name, owner
        raise Failure("of 100 topics none has an owner that fits")

    # Clients. `at`: a place; `brokers`: whom to ask, all by default, None: discovery.

    def _client(self, program, words, at, brokers, stdin=None, environment=None):
        """Starts a client program; what it needs to find this cluster is added unless it is given."""
        words = [str(word) for word in words]
        common = {"--cluster": self.name, "--broadcast-port": str(self.network.broadcast_port)}
        if brokers is not None:
            common["--brokers"] = ",".join(broker.address for broker in (self.brokers if brokers == "all" else brokers))
        added = [word for flag, value in common.items() if flag not in words for word in (flag, value)]
        command = [self.run.program(program), *words, *added]
        return self.run.start(at or self.client_place, command, stdin=stdin, environment=environment)

    def producer(self, topic, *flags, at=None, brokers="all", stdin=None, environment=None):
        return client.Producer(self._client("producer", ["--topic", topic, *flags], at, brokers, stdin, environment))

    def consumer(self, topic, *flags, at=None, brokers="all"):
        return self._client("consumer", ["--topic", topic, *flags], at, brokers)

    def bench(self, topic, *flags, at=None, brokers="all"):
        return self._client("logstream-bench", ["--topic", topic, *flags], at, brokers)

    def start_ctl(self, *words, at=None, brokers="all"):
        return self._client("logstreamctl", words, at, brokers)

    def ctl(self, *words, at=None, brokers="all", seconds=20):
        """Runs logstreamctl, which must succeed; its stdout."""
        return self.start_ctl(*words, at=at, brokers=brokers).succeed(seconds).output().decode()

    def read(self, topic, *flags, seconds=30, **where):
        """What a consumer that starts now prints, to the end that stands now: its lines."""
        return self.consumer(topic, *flags, **where).succeed(seconds).lines()

    def verify(self):
        """Every replica of every stream holds the same."""
        self.ctl("verify", seconds=60)


def describe(status):
    if status is None:
        return "no answer"
    members = ",".join(member["name"] for member in status["members"] if member["role"] != "learner")
    return f"view {status['view']} of {members or 'nobody'} {status.get('reason') or status['role']}"
