#!/usr/bin/python3
"""Makes the record batches and compressed texts beside this file with other people's code, and reads ours with it.

  make_batches.py                 writes *.batch and *.compressed (Debian: python3-kafka, -lz4, -snappy, -zstandard)
  make_batches.py --check FILE…   reads record batches with kafka-python; fails unless they hold sample_record(0…)

The contents follow the rules below, which tests/unit/protocol_record_batch_test.cpp and protocol_compression_test.cpp
repeat.
"""
import gzip
import pathlib
import sys

import lz4.frame
import snappy
import zstandard
from kafka.record import default_records
from kafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder

HERE = pathlib.Path(__file__).parent
BASE_TIMESTAMP_MS = 1700000000000


def sample_record(i):
    """(timestamp, key, value, headers) of record i."""
    timestamp = BASE_TIMESTAMP_MS + (i * 37) % 101 - 40 * (i % 2)
    key = None if i % 5 == 0 else f"key-{i % 17}".encode()
    value = None if i % 11 == 3 else (f"value {i} " * (i % 40)).encode()
    headers = [(f"h\u00e4{j}", None if (i + j) % 4 == 0 else str(i * j).encode()) for j in range(i % 3)]
    return timestamp, key, value, headers


def sample_text():
    return "".join(f"line {i % 50} of the sample text\n" for i in range(5000)).encode()


def batch(count, codec, producer_id=-1, producer_epoch=-1, base_sequence=-1):
    builder = DefaultRecordBatchBuilder(magic=2, compression_type=codec, is_transactional=False, producer_id=producer_id,
                                        producer_epoch=producer_epoch, base_sequence=base_sequence, batch_size=1 << 30)
    for i in range(count):
        timestamp, key, value, headers = sample_record(i)
        assert builder.append(i, timestamp, key, value, headers)
    return bytes(builder.build())


def make():
    default_records.gzip_encode = lambda data: gzip.compress(data, 9, mtime=0)  # without the time of day: repeatable
    batches = {
        "plain": batch(12, 0),
        "single": batch(1, 0),
        "idempotent": batch(12, 0, producer_id=0x1234567890ABCDEF, producer_epoch=7, base_sequence=0x7FFFFFFA),
        "gzip": batch(300, 1),
        "snappy": batch(300, 2),
        "lz4": batch(300, 3),
        "zstd": batch(300, 4),
    }
    default_records.snappy_encode = snappy.compress  # as librdkafka does, without the xerial framing
    batches["snappy_raw"] = batch(300, 2)
    for name, content in batches.items():
        (HERE / f"{name}.batch").write_bytes(content)

    text = sample_text()
    unsized = zstandard.ZstdCompressor(write_content_size=False)
    texts = {
        "gzip_two_members": gzip.compress(text[:70000], 9, mtime=0) + gzip.compress(text[70000:], 1, mtime=0),
        "snappy_raw": snappy.compress(text),
        "lz4_linked": lz4.frame.compress(text, block_linked=True, store_size=False, block_size=lz4.frame.BLOCKSIZE_MAX64KB),
        "lz4_checksums": lz4.frame.compress(text, content_checksum=True, block_checksum=True,
                                            block_size=lz4.frame.BLOCKSIZE_MAX4MB),
        "zstd_unsized": unsized.compress(text),
        "zstd_two_frames": unsized.compress(text[:70000]) + zstandard.ZstdCompressor().compress(text[70000:]),
    }
    for name, content in texts.items():
        (HERE / f"{name}.compressed").write_bytes(content)


def check(path):
    read = DefaultRecordBatch(pathlib.Path(path).read_bytes())
    assert read.magic == 2 and read.validate_crc(), path
    count = 0
    for record in read:
        expected = sample_record(count)
        assert record.offset == read.base_offset + count, path
        assert (record.timestamp, record.key, record.value, record.headers) == expected, (path, count)
        count += 1
    assert count == read.last_offset_delta + 1 > 0, path


if __name__ == "__main__":
    if sys.argv[1:2] == ["--check"]:
        for argument in sys.argv[2:]:
            check(argument)
    else:
        make()
