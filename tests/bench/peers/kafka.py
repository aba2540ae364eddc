import os
import shutil

from peers.peer import Peer
from processes import run, wait_until

_CLUSTER_ID = "YmVuY2hiZW5jaGJlbmNoYg"
_CONFIG = """
process.roles=broker,controller
node.id={host}
controller.quorum.voters={voters}
listeners=PLAINTEXT://{ip}:9092,CONTROLLER://{ip}:9093
advertised.listeners=PLAINTEXT://{ip}:9092
controller.listener.names=CONTROLLER
listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT
log.dirs={store}
offsets.topic.replication.factor=3
transaction.state.log.replication.factor=3
default.replication.factor=3
min.insync.replicas=2
{flush}
"""
_MINUTE = 60


class Kafka(Peer):
    """Kafka from Maven Central, KRaft, a topic of three replicas, acks=all."""

    name = "kafka"
    durability = "flushed by all replicas in sync (log.flush.interval.messages=1, acks=all)"
    warm_up = 5  # until Java has compiled it
    flush = "log.flush.interval.messages=1"

    def start(self):
        self.need("java", "javac", "mvn")
        libraries = self._libraries()
        classes = os.path.join(self.built, "kafka-client")
        run(["javac", "-cp", libraries, "-d", classes, os.path.join(self.sources, "KafkaLoad.java")], seconds=_MINUTE)
        logs = "-Dorg.slf4j.simpleLogger."
        quiet = [f"{logs}defaultLogLevel=error", f"{logs}log.kafka.server.KafkaRaftServer=info"]
        self._java = ["java", *quiet, "-cp", f"{libraries}:{classes}"]
        voters = ",".join(f"{host}@{self.network.ip(host)}:9093" for host in self.hosts)
        for host in self.hosts:
            store = os.path.join(self.folder, f"store-{host}")
            config = self.file(
                f"{host}.properties",
                _CONFIG.format(host=host, ip=self.network.ip(host), voters=voters, store=store, flush=self.flush),
            )
            run([*self._java, "kafka.tools.StorageTool", "format", "-t", _CLUSTER_ID, "-c", config], seconds=_MINUTE)
            memory = ["-Xms512m", "-Xmx512m", "-XX:+UseG1GC"]
            self.serve(host, self._java[0], *memory, *self._java[1:], "kafka.Kafka", config)
        self._servers = ",".join(f"{self.network.ip(host)}:9092" for host in self.hosts)
        wait_until(self._started, _MINUTE, "Kafka's brokers have started")

    def _libraries(self):
        """Kafka and all that it needs, fetched once; as a class path."""
        folder = os.path.join(self.built, "kafka-lib")
        if not os.path.exists(folder):
            fetched = folder + ".new"
            shutil.rmtree(fetched, ignore_errors=True)
            flags = ["-q", "-B", "-f", os.path.join(self.sources, "kafka-pom.xml"), f"-DoutputDirectory={fetched}"]
            run(["mvn", *flags, "dependency:copy-dependencies"], seconds=10 * _MINUTE)
            os.rename(fetched, folder)
        return os.path.join(folder, "*")

    def _started(self):
        self.check_servers()
        return all("Kafka Server started" in server.said() for server in self.servers.values())

    def client(self):
        return self.network.load_at, [*self._java, "KafkaLoad"], self._servers


class KafkaUnflushed(Kafka):
    """The same as Kafka is delivered."""

    name = "kafka-unflushed"
    durability = "written by all replicas in sync, not flushed (Kafka's defaults, acks=all)"
    flush = ""
