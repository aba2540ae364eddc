"""Packets that passed by: tcpdump, and what they say, decoded with the project's own .proto."""

import signal
import socket
import struct
from collections import defaultdict
from dataclasses import dataclass

import wire
from checks import Failure


@dataclass
class Seen:
    """One frame or message and how it travelled."""

    time: float  # when its last byte passed by
    transport: str  # "broadcast", "multicast", "unicast" or "tcp"
    source: tuple
    target: tuple
    content: object  # wire.Frame or wire.Message

    @property
    def type(self):
        return self.content.type


class Capture:
    """Everything that passes an interface from now on."""

    def __init__(self, run, place, interface):
        self.path = f"{run.folder}/{place.namespace}-{interface}.pcap"
        self._process = run.start(
            place,
            [
                "tcpdump",
                "-i",
                interface,
                "-n",
                "-s",
                "0",
                "-U",
                "--immediate-mode",
                "-B",
                "65536",
                "-Z",
                "root",
                "-w",
                self.path,
                "ip",
            ],
        )
        self._process.wait_for_words("listening on", 10)

    def stop(self):
        """Ends the capture; everything of ours that passed, in order of time."""
        self._process.send_signal(signal.SIGINT)
        self._process.wait(10)
        if " 0 packets dropped by kernel" not in " " + self._process.errors().replace("\n", " "):
            raise Failure(f"the capture is not whole: {self._process.last_words()}")
        return decode(self.path)


def packets(path):
    """(time, IPv4 packet) of each Ethernet frame."""
    with open(path, "rb") as file:
        data = file.read()
    order = "<" if data[:4] in (b"\xd4\xc3\xb2\xa1", b"\x4d\x3c\xb2\xa1") else ">"
    fraction = 1e-9 if data[:4] in (b"\x4d\x3c\xb2\xa1", b"\xa1\xb2\x3c\x4d") else 1e-6
    at = 24
    while at + 16 <= len(data):
        seconds, parts, size, _ = struct.unpack_from(order + "IIII", data, at)
        frame = data[at + 16 : at + 16 + size]
        at += 16 + size
        if frame[12:14] == b"\x08\x00":
            yield seconds + parts * fraction, frame[14:]


def decode(path):
    seen, streams = [], defaultdict(_Stream)
    for time, packet in packets(path):
        head = 4 * (packet[0] & 15)
        body = packet[head : struct.unpack_from(">H", packet, 2)[0]]
        source_ip, target_ip = socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20])
        if len(body) < 8:
            continue
        source, target = ((ip, port) for ip, port in zip((source_ip, target_ip), struct.unpack_from(">HH", body)))
        if packet[9] == socket.IPPROTO_UDP:
            frame = wire.decode_frame(body[8:])
            if frame:
                seen.append(Seen(time, _kind_of(target_ip), source, target, frame))
        elif packet[9] == socket.IPPROTO_TCP:
            for message in streams[source, target].add(time, body):
                seen.append(Seen(*message[:1], "tcp", source, target, message[1]))
    return sorted(seen, key=lambda each: each.time)


def _kind_of(ip):
    if 224 <= int(ip.split(".")[0]) <= 239:
        return "multicast"
    return "broadcast" if ip.endswith(".255") else "unicast"


class _Stream:
    """One direction of a TCP connection, put together again."""

    def __init__(self):
        self._next = None  # sequence number of the first byte that is not in _data yet
        self._waiting = {}  # out of order: sequence number -> bytes
        self._data = bytearray()

    def add(self, time, segment):
        """Takes a segment; yields (time, message) of each message that it completes."""
        number, flags = struct.unpack_from(">I", segment, 4)[0], segment[13]
        if flags & 2:  # SYN: a new connection of the same ports begins
            self._next, self._waiting, self._data = (number + 1) & 0xFFFFFFFF, {}, bytearray()
            return
        payload = segment[4 * (segment[12] >> 4) :]
        if self._next is None or not payload:
            return
        self._waiting[number] = max(self._waiting.get(number, b""), payload, key=len)
        while True:
            ready = [n for n, part in self._waiting.items() if 0 <= (self._next - n) & 0xFFFFFFFF < max(1, len(part))]
            self._waiting = {
                n: part for n, part in self._waiting.items() if n in ready or (n - self._next) & 0xFFFFFFFF < 1 << 31
            }
            if not ready:
                break
            part = self._waiting.pop(ready[0])
            new = part[(self._next - ready[0]) & 0xFFFFFFFF :]
            self._data += new
            self._next = (self._next + len(new)) & 0xFFFFFFFF
        while (message := wire.decode_message(bytes(self._data))) is not None:
            del self._data[: message.size]
            yield time, message
