"""The brokers that are measured beside LogStream: three of each, on the same hosts, under the same load."""

from peers.corosync import Corosync
from peers.kafka import Kafka, KafkaUnflushed
from peers.nats import Nats
from peers.redis import Redis

PEERS = [Nats, Redis, Corosync, Kafka, KafkaUnflushed]
