"""LogStream's wire format, read and written by hand here so that the brokers are not checked by their own code.

Only the Protobuf messages are shared: compiled from proto/logstream.proto into a folder of this run.
"""

import importlib
import os
import struct
import sys
from dataclasses import dataclass

from checks import Failure
from process import run

FRAME_MAGIC, MESSAGE_MAGIC, VERSION = 0x4744534C, 0x4D54534C, 1
FRAME_HEADER, MESSAGE_HEADER = struct.Struct("<IBBBBIIQQQ"), struct.Struct("<IBBBBIIQII")
FIRST_FRAGMENT, LAST_FRAGMENT, RESPONSE = 1, 2, 1

TYPES = {
    1: "JOIN",
    2: "JOIN_RESPONSE",
    3: "HEARTBEAT",
    4: "REPLICATE",
    5: "NACK",
    6: "NACK_GONE",
    7: "PROBE_MULTICAST",
    16: "REPLICATE_ACK",
    17: "ELECTION",
    18: "PROBE",
    19: "STATE_EXCHANGE",
    20: "VIEW_INSTALL",
    21: "VIEW_CHOSEN",
    22: "LEARN",
    23: "SUMMARY",
    24: "HANDOVER",
    25: "ORPHAN",
    26: "PEER_REPORT",
    27: "INTRODUCTION",
    32: "METADATA",
    33: "PRODUCE",
    34: "FETCH",
    35: "LIST_OFFSETS",
    36: "SUBSCRIBE",
    37: "COMMIT_OFFSETS",
    38: "TOPICS",
    39: "STATUS",
    40: "ADMIN",
    41: "VERIFY",
    42: "PRODUCER_STATE",
    43: "REASSIGN_BROKER",
    44: "GROUPS",
}
NUMBERS = {name: number for number, name in TYPES.items()}

# The Protobuf message of each type: (request, response). REPLICATE and ORPHAN carry batches, looked at elsewhere.
PROTOBUFS = {
    "JOIN": ("Join", "JoinResponse"),
    "JOIN_RESPONSE": ("JoinResponse", None),
    "HEARTBEAT": ("Heartbeat", None),
    "NACK": ("Nack", None),
    "NACK_GONE": ("NackGone", None),
    "PROBE_MULTICAST": ("ProbeMulticast", None),
    "REPLICATE_ACK": ("ReplicateAck", None),
    "ELECTION": ("Election", "Probe"),
    "PROBE": ("Probe", "ProbeResponse"),
    "STATE_EXCHANGE": ("StateExchange", "StateExchangeResponse"),
    "VIEW_INSTALL": ("ViewInstall", "ViewInstallAck"),
    "VIEW_CHOSEN": ("ViewChosen", None),
    "LEARN": ("Learn", "LearnResponse"),
    "SUMMARY": ("Summary", "SummaryResponse"),
    "HANDOVER": ("Handover", "HandoverResponse"),
    "PEER_REPORT": ("PeerReport", None),
    "INTRODUCTION": ("Introduction", None),
    "ORPHAN": ("Orphan", "ProduceResponse"),
    "METADATA": ("Metadata", "MetadataResponse"),
    "PRODUCE": ("Produce", "ProduceResponse"),
    "FETCH": ("Fetch", "FetchResponse"),
    "LIST_OFFSETS": ("ListOffsets", "ListOffsetsResponse"),
    "SUBSCRIBE": ("Subscribe", "SubscribeResponse"),
    "COMMIT_OFFSETS": ("CommitOffsets", "CommitOffsetsResponse"),
    "GROUPS": ("Groups", "GroupsResponse"),
    "TOPICS": ("Topics", "TopicsResponse"),
    "STATUS": ("Status", "StatusResponse"),
    "ADMIN": ("Admin", "AdminResponse"),
    "VERIFY": ("Verify", "VerifyResponse"),
    "PRODUCER_STATE": ("ProducerState", "ProducerStateResponse"),
    "REASSIGN_BROKER": (None, "ReassignBroker"),
}

_pb2 = None


def compile_protos(project, folder):
    """Compiles the project's .proto into `folder`, once, before anything else of this module is used."""
    global _pb2
    run(["protoc", f"--python_out={folder}", "-I", os.path.join(project, "proto"), "logstream.proto"])
    sys.path.insert(0, folder)
    _pb2 = importlib.import_module("logstream_pb2")


def protobuf(name):
    return getattr(_pb2, name)()


def _crc32c_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_TABLE = _crc32c_table()


def crc32c(data):
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ _TABLE[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


def xxh32(data):
    """xxHash32 with seed 0 (Collet, xxHash specification)."""
    p1, p2, p3, p4, p5 = 2654435761, 2246822519, 3266489917, 668265263, 374761393

    def rotate(x, r):
        return (x << r | x >> 32 - r) & 0xFFFFFFFF

    at = 0
    if len(data) >= 16:
        lanes = [(p1 + p2) & 0xFFFFFFFF, p2, 0, -p1 & 0xFFFFFFFF]
        while at + 16 <= len(data):
            for i, word in enumerate(struct.unpack_from("<4I", data, at)):
                lanes[i] = rotate((lanes[i] + word * p2) & 0xFFFFFFFF, 13) * p1 & 0xFFFFFFFF
            at += 16
        h = sum(rotate(lane, r) for lane, r in zip(lanes, (1, 7, 12, 18)))
    else:
        h = p5
    h = h + len(data) & 0xFFFFFFFF
    while at + 4 <= len(data):
        h = rotate((h + struct.unpack_from("<I", data, at)[0] * p3) & 0xFFFFFFFF, 17) * p4 & 0xFFFFFFFF
        at += 4
    for byte in data[at:]:
        h = rotate((h + byte * p5) & 0xFFFFFFFF, 11) * p1 & 0xFFFFFFFF
    h = (h ^ h >> 15) * p2 & 0xFFFFFFFF
    h = (h ^ h >> 13) * p3 & 0xFFFFFFFF
    return h ^ h >> 16


def cluster_tag(cluster):
    return xxh32(cluster.encode())


@dataclass
class Frame:
    """A datagram."""

    type: str
    flags: int
    tag: int
    view: int
    sender: int
    sequence: int
    payload: bytes

    def parse(self):
        return _parsed(PROTOBUFS[self.type][0], self.payload)


@dataclass
class Message:
    """A message of a TCP connection."""

    type: str
    flags: int
    tag: int
    correlation: int
    header: bytes
    body: bytes
    size: int

    @property
    def is_response(self):
        return bool(self.flags & RESPONSE)

    def parse(self):
        return _parsed(PROTOBUFS[self.type][self.is_response], self.header)


def _parsed(name, data):
    message = protobuf(name)
    message.ParseFromString(data)
    return message


def _with_zero_crc(data, size):
    return data[:12] + bytes(4) + data[16:size]


def encode_frame(kind, tag, content, view=0, sender=0, sequence=0):
    payload = content.SerializeToString()
    fixed = [FRAME_MAGIC, VERSION, NUMBERS[kind], 0, FRAME_HEADER.size // 4, tag, 0, view, sender, sequence]
    fixed[6] = crc32c(FRAME_HEADER.pack(*fixed) + payload)
    return FRAME_HEADER.pack(*fixed) + payload


def decode_frame(data):
    """None when it is not one of ours; fails when it is damaged."""
    if len(data) < FRAME_HEADER.size or struct.unpack_from("<I", data)[0] != FRAME_MAGIC:
        return None
    _, version, kind, flags, words, tag, crc, view, sender, sequence = FRAME_HEADER.unpack_from(data)
    if version != VERSION or kind not in TYPES or crc != crc32c(_with_zero_crc(data, len(data))):
        raise Failure(f"a datagram of {len(data)} bytes has version {version}, type {kind} or a wrong checksum")
    return Frame(TYPES[kind], flags, tag, view, sender, sequence, data[4 * words :])


def decode_message(data, at=0):
    """None while `data` does not hold the whole message that begins at `at`."""
    if len(data) - at < MESSAGE_HEADER.size:
        return None
    magic, version, kind, flags, words, tag, crc, correlation, head, body = MESSAGE_HEADER.unpack_from(data, at)
    if magic != MESSAGE_MAGIC or version != VERSION or kind not in TYPES:
        raise Failure(f"no LogStream message: magic {magic:#x}, version {version}, type {kind}")
    size = 4 * words + head + body
    if len(data) - at < size:
        return None
    if crc != crc32c(_with_zero_crc(data[at : at + size - body], size - body)):
        raise Failure(f"a {TYPES[kind]} message has a wrong checksum")
    begin = at + 4 * words
    return Message(
        TYPES[kind], flags, tag, correlation, data[begin : begin + head], data[begin + head : at + size], size
    )


def encode_message(kind, tag, request, body=b"", correlation=1):
    header = request.SerializeToString()
    fixed = [
        MESSAGE_MAGIC,
        VERSION,
        NUMBERS[kind],
        0,
        MESSAGE_HEADER.size // 4,
        tag,
        0,
        correlation,
        len(header),
        len(body),
    ]
    fixed[6] = crc32c(MESSAGE_HEADER.pack(*fixed) + header)
    return MESSAGE_HEADER.pack(*fixed) + header + body


def ask(connection, tag, kind, request, body=b""):
    """Sends one request on a connected socket; the answer as Message. OSError when the peer does not answer."""
    connection.sendall(encode_message(kind, tag, request, body))
    received = b""
    while True:
        part = connection.recv(1 << 16)
        if not part:
            raise ConnectionError("closed by the broker")
        received += part
        message = decode_message(received)
        if message is not None:
            return message


@dataclass
class Batch:
    """The header of a record batch (Kafka's v2); offsets into it are the format's."""

    size: int
    codec: int
    records: int
    base_sequence: int


def decode_batches(data):
    found = []
    while data:
        size = 12 + struct.unpack_from(">i", data, 8)[0]
        if size < 61 or size > len(data) or data[16] != 2:
            raise Failure(f"no record batch: length {size} of {len(data)} bytes, magic {data[16]}")
        if struct.unpack_from(">I", data, 17)[0] != crc32c(data[21:size]):
            raise Failure("a record batch has a wrong checksum")
        found.append(
            Batch(
                size,
                struct.unpack_from(">h", data, 21)[0] & 7,
                struct.unpack_from(">i", data, 57)[0],
                struct.unpack_from(">i", data, 53)[0],
            )
        )
        data = data[size:]
    return found


def session_batches(frames):
    """What the REPLICATE frames of one session carry, given in order and each once: (ReplicateHeader, [Batch])."""
    found, data = [], b""
    for frame in frames:
        data = frame.payload if frame.flags & FIRST_FRAGMENT else data + frame.payload
        while frame.flags & LAST_FRAGMENT and data:
            total, head = struct.unpack_from("<IH", data)
            if total > len(data) or 6 + head > total:
                raise Failure(f"a message of {total} bytes with a header of {head} in {len(data)} bytes of frames")
            found.append((_parsed("ReplicateHeader", data[6 : 6 + head]), decode_batches(data[6 + head : total])))
            data = data[total:]
    return found
