"""Faults of a broker's disk, of its machine's power, and of a program's clock.

The library shim/faults.cpp stands between a program and the C library. This is its other side: it says what is to go
wrong, and works out what a power cut leaves of a disk from the journal that the library keeps of changes and flushes.
"""

import ctypes
import mmap
import os
import shutil
import struct
import uuid

from checks import Failure, check

SECTOR_BYTES = 512  # of a write that was not flushed each sector survives, or not, by itself
ENTRY = struct.Struct("<QQIIII")  # inode, position, change, bytes of name and of data, 0
CREATE, MAKE_DIR, WRITE, TRUNCATE, RENAME, REMOVE, FLUSH, FLUSH_ALL = range(8)


class Control(ctypes.Structure):
    """What is to go wrong, then what was seen and what went wrong; the library has the same fields."""

    _fields_ = [
        ("write_delay_us", ctypes.c_uint64),
        ("flush_delay_us", ctypes.c_uint64),
        ("writes_to_fail", ctypes.c_uint64),
        ("flushes_to_fail", ctypes.c_uint64),
        ("writes", ctypes.c_uint64),
        ("flushes", ctypes.c_uint64),
        ("failed_writes", ctypes.c_uint64),
        ("failed_flushes", ctypes.c_uint64),
        ("failed_at_us", ctypes.c_uint64),  # the last one, since 1970
    ]


def library(run):
    path = run.program("libfaults.so")
    if not os.path.exists(path):
        raise Failure(f"there is no {path}; build the target faults")
    return path


def wrong_clock(run, seconds):
    """The environment of a program whose clock is so far ahead, or behind."""
    return {"LD_PRELOAD": library(run), "FAULTS_CLOCK_OFFSET": str(seconds)}


class FaultyDisk:
    """The disk of a broker that is not started yet; by the fields of `control` it is slow or fails, at any time."""

    def __init__(self, broker):
        run = broker.cluster.run
        self.broker = broker
        self._files = os.path.join(run.folder, f"{broker.cluster.name}-{broker.name}")
        os.makedirs(broker.data, exist_ok=True)
        with open(f"{self._files}.control", "w+b") as file:
            file.truncate(ctypes.sizeof(Control))
            self.control = Control.from_buffer(mmap.mmap(file.fileno(), 0))
        broker.environment = {
            "LD_PRELOAD": library(run),
            "FAULTS_DATA": broker.data,
            "FAULTS_CONTROL": f"{self._files}.control",
        }


class Machine(FaultyDisk):
    """The machine of a broker that is not started yet. It can lose its power."""

    def __init__(self, broker):
        super().__init__(broker)
        broker.environment["FAULTS_JOURNAL"] = f"{self._files}.journal"
        broker.environment["FAULTS_BOOT_ID"] = f"{self._files}.boot_id"
        self._boot()

    def _boot(self):
        with open(f"{self._files}.boot_id", "w", encoding="ascii") as file:
            file.write(f"{uuid.uuid4()}\n")
        open(f"{self._files}.journal", "wb").close()
        self._disk = _Disk(self.broker.data)

    def lose_power(self, random=None):
        """After the broker was killed: the disk keeps what was flushed, and of the rest nothing, or a part that is
        drawn. Returns how many bytes written to its files are lost."""
        self._replay()
        lost = self._disk.root.lose_unflushed(random)
        shutil.rmtree(self.broker.data)
        self._disk.root.write(self.broker.data)
        self._boot()
        return lost

    def check_journal(self):
        """After the broker has ended in order: its journal tells of all that is on the disk. If the library missed a
        call, a power cut would take what was flushed, or leave what was not."""
        self._replay()
        check(
            self._disk.root.content() == _Disk(self.broker.data).root.content(),
            f"{self.broker} changed its disk by a call that shim/faults.cpp does not know",
        )

    def _replay(self):
        check(not self.broker.running, f"{self.broker} runs: its process ends first")
        with open(f"{self._files}.journal", "r+b") as file:
            self._disk.replay(file.read())
            file.truncate(0)


def cut_power(machines, random=None):
    """All machines at once; the bytes that are lost with it."""
    for machine in machines:
        machine.broker.signal_kill()
    for machine in machines:
        machine.broker.process.wait(10)
    return sum(machine.lose_power(random) for machine in machines)


# What a disk keeps. A file's content is kept as of its last flush, a folder's names as of the folder's. What came
# later is kept as a file system may: changes of one folder's names up to some point, since its journal has them in
# order; of a file whichever sectors the page cache had got round to. The simulator's disk has the same rules:
# internal/storage/fake_disk.h.


class _File:
    def __init__(self, content=b""):
        self._flushed = bytearray(content)
        self._changes = []  # (position, bytes) of a write; (size, None) of a truncation

    def change(self, position, data):
        self._changes.append((position, data))

    def flush(self):
        for change in self._changes:
            self._apply(*change)
        self._changes.clear()

    def _apply(self, position, data):
        end = position if data is None else position + len(data)
        if len(self._flushed) < end:
            self._flushed.extend(bytes(end - len(self._flushed)))
        if data is None:
            del self._flushed[end:]
        else:
            self._flushed[position:end] = data

    def content(self):
        """As programs see it."""
        seen = _File(self._flushed)
        seen._changes = list(self._changes)
        seen.flush()
        return bytes(seen._flushed)

    def lose_unflushed(self, random):
        # One file: everything, nothing, or each sector by itself.
        keep = random.choice([0, 0.25, 0.5, 0.75, 1]) if random else 0
        lost = 0
        for position, data in self._changes:
            if data is None:
                if keep and random.random() < keep:
                    self._apply(position, None)
                continue
            for at, sector in _sectors(position, data):
                if keep and random.random() < keep:
                    self._apply(at, sector)
                else:
                    lost += len(sector)
        self._changes.clear()
        return lost

    def write(self, path):
        with open(path, "wb") as file:
            file.write(self._flushed)


def _sectors(position, data):
    at = 0
    while at < len(data):
        size = SECTOR_BYTES - (position + at) % SECTOR_BYTES
        yield position + at, data[at : at + size]
        at += size


class _Folder:
    def __init__(self):
        self.names = {}
        self._flushed = {}
        self._changes = []

    def change(self, names):
        """One change, whole or not at all; None: there is nothing of this name any more."""
        self._changes.append(names)
        _rename(self.names, names)

    def flush(self):
        self._flushed = dict(self.names)
        self._changes.clear()

    def content(self):
        return {name: node.content() for name, node in self.names.items()}

    def lose_unflushed(self, random):
        kept = random.randrange(len(self._changes) + 1) if random else 0
        for names in self._changes[:kept]:
            _rename(self._flushed, names)
        # Those whose names are lost, too.
        nodes = {id(node): node for names in (self._flushed, self.names) for node in names.values()}
        return sum(node.lose_unflushed(random) for node in nodes.values())

    def write(self, path):
        os.mkdir(path)
        for name, node in self._flushed.items():
            node.write(os.path.join(path, name))


def _rename(names, change):
    for name, node in change.items():
        if node is None:
            names.pop(name, None)
        else:
            names[name] = node


class _Disk:
    def __init__(self, path):
        """What stands at `path` counts as flushed."""
        self._path = path
        self._nodes = {}  # by inode; a number that is used anew is the new one's
        self.root = self._read(path)

    def _read(self, path):
        if os.path.isdir(path):
            node = _Folder()
            node.change({name: self._read(os.path.join(path, name)) for name in os.listdir(path)})
            node.flush()
        else:
            with open(path, "rb") as file:
                node = _File(file.read())
        self._nodes[os.stat(path).st_ino] = node
        return node

    def _parent(self, path):
        """The folder that `path` is in, and its name there."""
        folder = self.root
        *above, name = os.path.relpath(path, self._path).split(os.sep)
        for part in above:
            folder = folder.names[part]
        return folder, name

    def replay(self, journal):
        at = 0
        while at + ENTRY.size <= len(journal):
            inode, position, change, name_bytes, data_bytes, _ = ENTRY.unpack_from(journal, at)
            name_at = at + ENTRY.size
            data_at = name_at + name_bytes
            at = data_at + data_bytes
            if at > len(journal):
                break  # killed in the midst of it: neither flushed nor acknowledged
            self._replay(inode, position, change, journal[name_at:data_at].decode(), journal[data_at:at])

    def _replay(self, inode, position, change, path, data):
        if change in (CREATE, MAKE_DIR):
            folder, name = self._parent(path)
            self._nodes[inode] = _File() if change == CREATE else _Folder()
            folder.change({name: self._nodes[inode]})
        elif change == REMOVE:
            folder, name = self._parent(path)
            folder.change({name: None})
        elif change == RENAME:
            folder, name = self._parent(path)
            target, new_name = self._parent(data.decode())
            check(target is folder, f"{path} is renamed to another folder: what a power cut leaves is not known")
            folder.change({name: None, new_name: folder.names[name]})
        elif change == WRITE:
            self._nodes[inode].change(position, data)
        elif change == TRUNCATE:
            self._nodes[inode].change(position, None)
        elif change == FLUSH:
            self._nodes[inode].flush()
        elif change == FLUSH_ALL:
            for node in self._nodes.values():
                node.flush()
        else:
            raise Failure(f"the journal of {self._path} has an entry of the unknown kind {change}")
