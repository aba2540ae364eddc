"""The flags and variables by which logstreamctl and logstream-bench find a cluster."""

import os

from checks import check, check_equal
from client import check_refused

COMMANDS = {
    "logstreamctl": ["topics", "list"],
    "logstream-bench": ["--duration", "0.1", "--warmup", "0", "--rate", "100"],
}


def _start_all(cluster, *ways):
    """Both programs, each with these flags and nothing else; a dict among the flags is of variables."""
    processes = []
    for way in ways:
        env = {key: value for word in way if isinstance(word, dict) for key, value in word.items()}
        flags = [str(word) for word in way if not isinstance(word, dict)]
        for name, words in COMMANDS.items():
            argv = ["env", *(f"{key}={value}" for key, value in env.items()), cluster.run.program(name)]
            processes.append(cluster.run.start(cluster.client_place, [*argv, *words, *flags]))
    return processes


def check_flag_brokers_cluster_broadcast_port_interface(cluster):
    name, broker = ["--cluster", cluster.name], cluster.brokers[1].address
    nowhere, elsewhere = "10.77.0.1:8123", ["--broadcast-port", 8887]
    found = _start_all(
        cluster,
        name,
        [*name, "--interface", "eth0"],
        [{"CLUSTER_NAME": cluster.name}],
        [*name, "--broadcast-port", 8888, {"BROADCAST_PORT": 8887}],
        ["--brokers", broker, *elsewhere],
        [{"BROKERS": broker}, *elsewhere],
        [{"LOGSTREAM_BROKERS": broker, "BROKERS": nowhere}, *elsewhere],
        ["--brokers", f"{nowhere},{broker}", *elsewhere],
    )
    refused = [
        (r"no broker of cluster 'logstream' answered .*, but these clusters did: 'itest' \(at 10\.", []),
        (r"no broker of cluster 'itest' answered .* netdiag", [*name, *elsewhere]),
        (r"no broker of cluster 'itest' answered", [*name, {"BROADCAST_PORT": 8887}]),
        (r"no broker of cluster 'itest' answered", [*name, "--interface", "lo"]),
        (r"no interface 'eth9'.*eth0", [*name, "--interface", "eth9"]),
        (r"no broker answered at 10\.77\.0\.1:8123 .* --brokers", ["--brokers", nowhere]),
        (r"no broker answered at", ["--brokers", broker, "--cluster", "other"]),
    ]
    started = [(pattern, _start_all(cluster, way)) for pattern, way in refused]
    wrong = _start_all(cluster, ["--brokers", "n1"], ["--brokers", "n1:65536"], ["--brokers", ""])
    for process in found:
        process.succeed(20)
    for process in wrong:
        check_equal((process.wait(20), process.output()), (2, b""), f"exit code and stdout of {process.argv[-2:]}")
        check("--brokers: expected HOST:PORT" in process.errors(), f"{process.name} says {process.errors()}")
    for pattern, processes in started:
        for process in processes:
            check_refused(process, 20, pattern)
            check_equal(process.output(), b"", f"what {process.name} prints")


def check_flag_context(cluster):
    config = {"XDG_CONFIG_HOME": os.path.join(cluster.run.folder, "config")}
    broker, elsewhere = cluster.brokers[1].address, ["--broadcast-port", 8887]

    def context(*words, env=config):
        argv = ["env", *(f"{key}={value}" for key, value in env.items()), cluster.run.program("logstreamctl"), "context"]
        return cluster.run.start(cluster.client_place, [*argv, *words])

    check_equal(context("list").succeed(10).output().split(), [b"NAME", b"CLUSTER", b"BROKERS"], "contexts at first")
    context("add", "far", "--brokers", "10.77.0.1:8123").succeed(10)
    context("add", "near", "--brokers", broker, "--cluster", cluster.name).succeed(10)
    near = {**config, "LOGSTREAM_CONTEXT": "near"}
    found = _start_all(cluster, ["--context", "near", config, *elsewhere], [near, *elsewhere])
    refused = _start_all(
        cluster,
        [config, *elsewhere],  # the first one added is the current one
        ["--context", "far", near, {"BROKERS": broker}, *elsewhere],
    )
    unknown = _start_all(cluster, ["--context", "naer", config])
    both = _start_all(cluster, ["--context", "near", "--brokers", broker, config])
    for process in found:
        process.succeed(20)
    for process in refused:
        check_refused(process, 20, r"no broker answered at 10\.77\.0\.1:8123")
    for process in unknown:
        check_refused(process, 10, "there is no context 'naer'; known: far, near; did you mean 'near'")
    for process in both:
        check_equal(process.wait(10), 2, "exit of --context with --brokers")
    context("use", "near").succeed(10)
    for process in _start_all(cluster, [config, *elsewhere]):
        process.succeed(20)
    rows = [line.split() for line in context("list").succeed(10).output().decode().splitlines()]
    check_equal(rows[1:], [["far", "-", "10.77.0.1:8123"], ["*", "near", cluster.name, broker]], "context list")
    context("remove", "near").succeed(10)
    check_refused(context("use", "near"), 10, "there is no context 'near'")
    check_refused(context("add", "x", "--brokers", broker, env={"XDG_CONFIG_HOME": "", "HOME": ""}), 10, "HOME")
    empty = context("add", "x")
    check_equal((empty.wait(10), empty.output()), (2, b""), "exit and output of a context with nothing in it")
    check("--brokers, --cluster or both\nTry logstreamctl context add --help" in empty.errors(), empty.errors())


def check_flag_verbose_and_version(cluster):
    view = f"view {cluster.wait_for_view()['view']}:"
    where = ["--brokers", cluster.brokers[0].address]
    for loud in _start_all(cluster, [*where, "--verbose"]):
        check(view in loud.succeed(20).errors(), f"{loud.name} --verbose does not tell its {view} {loud.errors()}")
    for quiet in _start_all(cluster, where):
        check_equal(quiet.succeed(20).errors(), "", f"{quiet.name} says without --verbose")
    for version in _start_all(cluster, ["--version"]):
        check(version.succeed(10).output().strip(), f"{version.name} prints no version")
