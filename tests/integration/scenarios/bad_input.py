"""What people get wrong: a clear error that says what to do, and the right exit code."""

import os

from checks import check, check_equal
from client import check_refused, compare_lines
from scenario import scenario


@scenario("bad-input")
def bad_input(run):
    cluster = run.cluster(1).start()
    broker = cluster.brokers[0]
    for test in (
        _config_typo,
        _taken_port,
        _data_in_use,
        _unwritable_folder,
        _topic_name,
        _large_record,
        _nobody_there,
    ):
        test(run, cluster, broker)
    check_equal(broker.status()["quorum"], True, "whether the broker still serves")
    return "config typo, taken port, data in use, unwritable data folder, topic name of 10,000 bytes, large record, no broker"


def _second_broker(run, broker, *flags):
    """A start of another broker that must fail at once."""
    return run.start(broker.place, broker.command(*flags))


def _config_typo(run, cluster, broker):
    path = run.write("typo.yaml", [b"cluster:", b"  name: itest", b"storage:", b"  fsinc: group"])
    process = _second_broker(run, broker, "--config", path)
    code, said = process.wait(10), process.errors()
    check(code in (1, 2), f"a broker with a typo in its config exits {code}")
    check(f"{path}:4" in said and "fsinc" in said, f"no file, line and word of the typo in: {said.strip()}")
    check("fsync" in said, f"what was meant is not named in: {said.strip()}")


def _taken_port(run, cluster, broker):
    check_refused(
        _second_broker(run, broker, "--data", os.path.join(run.folder, "taken")), 10, broker.address, "--address"
    )


def _data_in_use(run, cluster, broker):
    check_refused(
        _second_broker(run, broker, "--address", f"{broker.place.ip}:{broker.place.port + 500}"),
        10,
        broker.data,
        "in use|another|locked|used",
    )


def _unwritable_folder(run, cluster, broker):
    """Below a file no folder can be made, whoever asks."""
    file = run.write("a-file", [b"no folder"])
    process = _second_broker(
        run, broker, "--data", os.path.join(file, "data"), "--address", f"{broker.place.ip}:{broker.place.port + 500}"
    )
    check_refused(process, 10, "a-file/data", "--data")


def _topic_name(run, cluster, broker):
    check_refused(cluster.producer("n" * 10_000, "--message", "x"), 10, r"249|too long")
    check_refused(cluster.consumer("n" * 10_000), 20, r"249|too long")
    check_refused(cluster.producer("a/b", "--message", "x"), 10, "a/b")


def _large_record(run, cluster, broker):
    """The limit is 1 MiB; the records around the one that is refused are there."""
    lines = [b"before", b"x" * (2 << 20), b"after"]
    failed = os.path.join(run.folder, "large.failed")
    process = cluster.producer("large", "--file", run.write("large.in", lines), "--failed", failed)
    check_refused(process, 20, "line 2", "limit|1048576|1 ?MiB|record_bytes|batch_bytes", "1 NOT ACKNOWLEDGED")
    with open(failed, "rb") as file:
        check_equal(len(file.read()), len(lines[1]) + 1, "bytes in the file of --failed")
    compare_lines(cluster.read("large"), [b"before", b"after"], "the records around a large one")


def _nobody_there(run, cluster, broker):
    nowhere = f"{broker.place.ip}:{broker.place.port + 700}"
    argv = [
        run.program("producer"),
        "--topic",
        "x",
        "--message",
        "x",
        "--timeout",
        "0",
        "--brokers",
        nowhere,
        "--cluster",
        cluster.name,
    ]
    check_refused(run.start(cluster.client_place, argv), 10, nowhere)
