"""What surrounds a process: descriptors that are closed, disks that are full, signals of a terminal that closes, names
that are no UTF-8, ports that are taken, lines without an end."""

import fcntl
import json
import os
import shutil
import signal
import struct
import subprocess
import termios

from checks import check, check_equal, wait_until
from client import check_refused, compare_lines
from scenario import Need, scenario


@scenario("surroundings", Need.FILES, Need.ANY_BYTES)
def surroundings(run):
    cluster = run.cluster(1)
    broker = cluster.brokers[0]
    broker.data = os.fsdecode(os.fsencode(broker.data) + b"-caf\xe9")
    settings = run.write("broker.yaml", [b"log:", b"  level: info"])
    broker.start("--log-file", "--config", settings)
    cluster.wait_for_view()
    for test in (
        _closed_descriptors,
        _full_disk,
        _failed_file,
        _bytes_that_are_no_text,
        _one_copy,
        _hangup_of_a_producer,
        _hangup_of_a_consumer,
        _hangup_of_a_broker,
        _endless_line,
        _interrupted_benchmark,
        _deleted_under_a_benchmark,
        _taken_http_port,
        _removed_data,
    ):
        test(run, cluster, broker)
    check(broker.running, "the broker has ended")
    return (
        "closed descriptors, full disk, --failed over the input, bytes that are no UTF-8, one copy, SIGHUP, a line "
        "without end, an interrupted benchmark, a taken HTTP port, removed data"
    )


def _in_shell(run, cluster, redirection, program, *words):
    """Starts a client whose descriptors the shell has changed."""
    argv = [run.program(program), *map(str, words), "--brokers", cluster.brokers[0].address]
    return run.start(cluster.client_place, ["sh", "-c", f'exec "$0" "$@" {redirection}', *argv])


def _closed_descriptors(run, cluster, broker):
    for redirection in ("<&-", "2>&-", "<&- 2>&-"):
        for words in (
            ["producer", "--topic", "closed", "--message", "x"],
            ["consumer", "--topic", "closed"],
            ["logstreamctl", "topics"],
        ):
            code = _in_shell(run, cluster, redirection, *words).wait(20)
            check_equal(code, 0, f"exit code of {words} {redirection}")
    compare_lines(cluster.read("closed"), [b"x"] * 3, "records of producers with closed descriptors")
    for words in (["consumer", "--topic", "closed"], ["logstreamctl", "topics"], ["logstreamctl", "--help"]):
        process = _in_shell(run, cluster, ">&-", *words)
        check_equal(process.wait(20), 1, f"exit code of {words} with its stdout closed")
        check("standard output" in process.errors(), f"{words} says: {process.errors()!r}")
    process = _in_shell(run, cluster, "<&-", "producer", "--topic", "closed")
    check_refused(process, 20, "reading stopped")


def _full_disk(run, cluster, broker):
    for words in (
        ["logstreamctl", "status"],
        ["logstreamctl", "status", "--json"],
        ["logstreamctl", "verify"],
        ["logstreamctl", "topics", "describe", "closed"],
        ["logstreamctl", "ring"],
        ["logstreamctl", "query", "-t", "closed", "--json"],
        ["logstreamctl", "append", "-t", "closed", "-c", "x"],
        ["consumer", "--topic", "closed"],
        ["producer", "--help"],
        ["logstream-bench", "--json", "--duration", "0.2", "--warmup", "0", "--rate", "100"],
    ):
        check_refused(_in_shell(run, cluster, ">/dev/full", *words), 20, "standard output.*No space left")
    process = run.start(cluster.client_place, ["sh", "-c", f"exec {run.program('netdiag')} > /dev/full"])
    check_refused(process, 20, "standard output")
    process = run.start(cluster.client_place, ["sh", "-c", f"exec {run.program('logstream')} --help > /dev/full"])
    check_refused(process, 20, "standard output")


def _compare_file(path, lines, what):
    with open(path, "rb") as file:
        compare_lines(file.read().split(b"\n")[:-1], lines, what)


def _failed_file(run, cluster, broker):
    """Neither the file that is read nor one of an earlier run is lost."""
    lines = cluster.run.numbered_lines(50)
    path, link = run.write("retry.in", lines), os.path.join(run.folder, "retry.link")
    os.symlink(path, link)
    for failed in (path, link):
        process = cluster.producer("retry", "--file", path, "--failed", failed)
        check_equal(process.wait(20), 2, f"exit code of --file {path} --failed {failed}")
    check_equal(cluster.producer("retry", "--failed", path, stdin=path).wait(20), 2, "exit code with the input's file")
    _compare_file(path, lines, "the file that was read")
    earlier = run.write("earlier.failed", lines)
    check_refused(cluster.producer("a/b", "--message", "x", "--failed", earlier), 20, "a/b")
    _compare_file(earlier, lines, "what an earlier run had written")
    cluster.producer("retry", "--message", "x", "--failed", earlier).succeed(20)
    check_equal(os.path.getsize(earlier), 0, "bytes of --failed when all was acknowledged")
    _compare_file(earlier + "~", lines, "what an earlier run had written, set aside")
    # Nor is anything that was set aside before: it may be the input by now.
    for number in (2, 3):
        shutil.copyfile(path, earlier)
        cluster.producer("retry", "--file", earlier + "~", "--failed", earlier).succeed(20)
        for name in ("~", f"~{number}"):
            _compare_file(earlier + name, lines, f"what was set aside as PATH{name}")
    pipe = os.path.join(run.folder, "failed.pipe")
    os.mkfifo(pipe)
    check_refused(cluster.producer("retry", "--message", "x", "--failed", pipe), 20, "no program reads this pipe")


def _bytes_that_are_no_text(run, cluster, broker):
    status = json.loads(cluster.ctl("status", "--json"))
    check(status["members"][0]["disk"]["dir_base64"].endswith("LWNhZuk="), f"disk: {status['members'][0]['disk']}")
    path = run.write("latin1.in", [b"k\xe9y:caf\xe9", b"key:value"])
    cluster.producer("latin1", "--file", path, "--key-separator", ":").succeed(20)
    first, second = [json.loads(line) for line in cluster.ctl("query", "-t", "latin1", "--json").splitlines()]
    check_equal((first["key_base64"], first["value_base64"]), ("a+l5", "Y2Fm6Q=="), "bytes that are no UTF-8")
    check_equal((second["key"], second["value"]), ("key", "value"), "text")
    group = cluster.consumer("latin1", "--group", os.fsdecode(b"caf\xe9"))
    check_equal(group.wait(20), 2, "exit code of a group whose name is no UTF-8")


def _one_copy(run, cluster, broker):
    check("1 copy" in broker.status()["warnings"][0], f"warnings of a view of one: {broker.status()['warnings']}")
    check("1 copy" in cluster.ctl("status"), "logstreamctl status does not say that there is 1 copy")


def _unread_bytes(pipe):
    return struct.unpack("i", fcntl.ioctl(pipe, termios.FIONREAD, b"\0" * 4))[0]


def _hangup_of_a_producer(run, cluster, broker):
    """What it has read is sent, though the pipe stays open and the linger is long."""
    producer = cluster.producer("hangup", "--linger", 60_000, stdin=subprocess.PIPE)
    lines = [b"%d" % number for number in range(5)]
    producer.popen.stdin.write(b"".join(line + b"\n" for line in lines))
    producer.popen.stdin.flush()
    wait_until(lambda: _unread_bytes(producer.popen.stdin) == 0, 20, "the producer reads its lines")
    producer.send_signal(signal.SIGHUP)
    producer.succeed(20)
    compare_lines(cluster.read("hangup"), lines, "lines that were read before SIGHUP")


def _hangup_of_a_consumer(run, cluster, broker):
    consumer = cluster.consumer("hangup", "--follow", "--group", "hangup")
    wait_until(lambda: consumer.line_count() == 5, 20, "the consumer reads")
    consumer.send_signal(signal.SIGHUP)
    consumer.succeed(20)
    compare_lines(cluster.read("hangup", "--group", "hangup"), [], "what the group had not committed at SIGHUP")


def _hangup_of_a_broker(run, cluster, broker):
    log = os.path.join(os.fsencode(broker.data), b"logstream.log")
    os.rename(log, log + b".moved")
    run.write("broker.yaml", [b"log:", b"  level: debug", b"topics:", b"  partitions: 7"])
    broker.process.send_signal(signal.SIGHUP)
    broker.process.wait_for_words("CONFIG reloaded: log.level=debug", 10)
    broker.process.wait_for_words("CONFIG topics.partitions was changed: .* restarted", 10)
    with open(log, encoding="utf-8", errors="replace") as file:
        check("CONFIG reloaded" in file.read(), "the log file was not opened again")
    run.write("broker.yaml", [b"log:", b"  level: loud"])
    broker.process.send_signal(signal.SIGHUP)
    broker.process.wait_for_words("CONFIG is unchanged: .*broker.yaml:2.*loud", 10)
    cluster.wait_for_view()


def _endless_line(run, cluster, broker):
    """600 MB without a newline are refused without being held, and the lines around them are sent."""
    path = run.write("endless.in", [b"before"])
    with open(path, "r+b") as file:
        file.truncate(600_000_000)
        file.seek(0, os.SEEK_END)
        file.write(b"\nafter\n")
    words = [run.program("producer"), "--topic", "endless", "--file", path, "--brokers", broker.address]
    process = run.start(cluster.client_place, ["prlimit", f"--data={200 << 20}", *words])
    check_refused(process, 60, "line 2: .* exceeds the cluster's limit", "1 NOT ACKNOWLEDGED")
    compare_lines(cluster.read("endless"), [b"before", b"after"], "the lines around an endless one")
    os.remove(path)


def _start_benchmark(cluster):
    """It, and the topic that it has made."""
    bench = cluster._client("logstream-bench", ["--duration", 300, "--rate", 100], None, "all")
    made = wait_until(
        lambda: [name for name in _topics(cluster) if name.startswith("bench-")], 20, "the benchmark makes its topic"
    )
    return bench, made[0]


def _interrupted_benchmark(run, cluster, broker):
    bench, own = _start_benchmark(cluster)
    bench.send_signal(signal.SIGTERM)
    check_refused(bench, 20, "interrupted")
    check(own not in _topics(cluster), f"{own} stays behind an interrupted benchmark")
    # A broker that stands still holds up the clean-up, until the second signal.
    bench, own = _start_benchmark(cluster)
    broker.process.send_signal(signal.SIGSTOP)
    bench.send_signal(signal.SIGTERM)
    wait_until(lambda: not bench.running or bench.send_signal(signal.SIGTERM), 20, "the second signal ends it")
    broker.process.send_signal(signal.SIGCONT)
    check_refused(bench, 20, f"gave up cleaning up; logstreamctl topics delete {own}")
    cluster.ctl("topics", "delete", own)


def _deleted_under_a_benchmark(run, cluster, broker):
    """What was not acknowledged is in the result, and in the exit code."""
    cluster.create_topic("doomed")
    words = ["--topic", "doomed", "--duration", 2, "--warmup", 0, "--rate", 100, "--json"]
    bench = cluster._client("logstream-bench", words, None, "all")
    describe = ["topics", "describe", "doomed", "--json"]
    wait_until(lambda: json.loads(cluster.ctl(*describe))["records"] > 10, 20, "the benchmark sends")
    cluster.ctl("topics", "delete", "doomed")
    check_refused(bench, 60, "not acknowledged|deleted")
    check(json.loads(bench.output())["failed"] > 0, f"the result: {bench.output()!r}")


def _topics(cluster):
    return [topic["name"] for topic in json.loads(cluster.ctl("topics", "--json"))["topics"]]


def _removed_data(run, cluster, broker):
    """What would be in no file is not acknowledged."""
    cluster.producer("removed", "--message", "x").succeed(20)
    shutil.rmtree(os.fsencode(broker.data))
    producer = cluster.producer("removed", "--message", "y", "--timeout", 3000)
    check(producer.wait(20) != 0, "a broker without a data directory acknowledges")
    wait_until(lambda: not broker.running, 20, "the broker ends")
    check("was removed while the broker was running" in broker.process.errors(), broker.process.last_words())
    broker.start()
    cluster.wait_for_view()


def _taken_http_port(run, cluster, broker):
    http = f"{broker.place.ip}:{broker.place.port + 1000}"
    broker.stop()
    broker.start("--http", http)
    cluster.wait_for_view()
    words = broker.command("--http", http, "--address", f"{broker.place.ip}:{broker.place.port + 500}")
    words += ["--data", os.path.join(run.folder, "second"), "--cluster", "second"]
    check_refused(run.start(broker.place, words), 20, f"HTTP port {broker.place.port + 1000}")
