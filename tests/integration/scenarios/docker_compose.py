"""The image and deploy/docker, as a person uses them: up, produce, consume, kill a container, compare, down."""

import json
import os

from checks import Failure, Stopwatch, check, check_equal, wait_until
from client import compare_lines
from modes.docker_image import BASES
from process import Process
from process import run as run_command
from scenario import Need, scenario

BROKERS = ("n1", "n2", "n3")
HEALTH_SECONDS = 60  # a probe every 5 s, some of which have to fail


@scenario("docker-compose", Need.DOCKER)
def docker_compose(run):
    watch = Stopwatch()
    with Project(run) as project:
        up = watch.seconds
        _check_containers(project)
        lines = run.log_lines()
        project.produce("app", run.write("app.in", lines)).succeed(60)
        compare_lines(project.consume("n2", "app"), lines, "read back through another broker")
        gap = _kill_one(run, project)
        red = _lose_quorum(project)
        _make_anew(project, lines)
        _stop_in_order(project)
    left = project.left()
    check(not left, f"stop-cluster.sh leaves behind: {left}")
    return (
        f"built and up in {up:.1f} s, healthy, not root; a container killed under load: longest wait {gap:.0f} ms; red "
        f"{red:.1f} s after the quorum was lost; a container made anew kept its identity; SIGTERM ends with 0; nothing stays"
    )


class Project:
    """The containers of compose.yaml, under a name of their own."""

    def __init__(self, run):
        self._run, self._daemon = run, run.mode.daemon
        self._name = f"{self._daemon.name}-compose"
        self._environment = self._daemon.environment | BASES

    def _script(self, name, *flags):
        script = os.path.join(self._run.project, "deploy", "docker", name)
        return run_command([script, "--project", self._name, *flags], seconds=600, environment=self._environment)

    def __enter__(self):
        try:
            self._script("start-cluster.sh", "--wait", 120)
        except BaseException:
            self._script("stop-cluster.sh", "--volumes")
            raise
        return self

    def __exit__(self, *_):
        self._script("stop-cluster.sh", "--volumes")

    def docker(self, *words):
        return self._daemon.docker(*words)

    def recreate(self, broker):
        file = os.path.join(self._run.project, "deploy", "docker", "compose.yaml")
        words = ["docker-compose", "--project-name", self._name, "--file", file, "up", "--detach", "--force-recreate"]
        run_command([*words, "--no-deps", broker], seconds=120, environment=self._environment)

    def container(self, broker):
        label = [f"com.docker.compose.project={self._name}", f"com.docker.compose.service={broker}"]
        return self.docker("ps", "--all", "--quiet", *(f"--filter=label={each}" for each in label)).strip()

    def inspect(self, broker):
        return json.loads(self.docker("inspect", self.container(broker)))[0]

    def start(self, broker, *words, stdin=None):
        """Starts a program in the container of a broker."""
        argv = ["docker", "exec", "--interactive", self.container(broker), *map(str, words)]
        name = f"{broker}-{words[0]}-{len(os.listdir(self._run.folder))}"
        process = Process(argv, name, self._run.folder, stdin, self._environment)
        self._run.at_the_end(process.kill)
        return process

    def produce(self, topic, path, *flags):
        return self.start("n1", "producer", "--topic", topic, *flags, stdin=path)

    def consume(self, broker, topic, *flags):
        return self.start(broker, "consumer", "--topic", topic, *flags).succeed(60).lines()

    def status(self, broker):
        return json.loads(self.start(broker, "logstreamctl", "status", "--json").succeed(30).output())

    def wait_for_health(self, broker, wanted):
        """The words of the probe that said so."""

        def look():
            health = self.inspect(broker)["State"]["Health"]
            said = (health["Log"] or [{"Output": "nothing"}])[-1]["Output"].strip()
            return health["Status"] == wanted and (said or "nothing"), f"{health['Status']}: {said}"

        return wait_until(look, HEALTH_SECONDS, f"{broker} is {wanted}")

    def left(self):
        found = []
        for kind in ("container", "network", "volume"):
            flags = ["--all"] if kind == "container" else []
            label = f"label=com.docker.compose.project={self._name}"
            found += self.docker(kind, "ls", "--quiet", *flags, "--filter", label).split()
        return found


def _check_containers(project):
    for broker in BROKERS:
        project.wait_for_health(broker, "healthy")
        who = project.docker("exec", project.container(broker), "id", "-u").strip()
        check_equal(who, "8001", f"user of {broker}")
        first = project.docker("exec", project.container(broker), "cat", "/proc/1/comm").strip()
        check_equal(first, "tini", f"process 1 of {broker}")
        port = project.docker("port", project.container(broker), "9001").strip()
        check(port.startswith("127.0.0.1:"), f"the page of {broker} is at {port!r}")
    status = project.status("n1")
    check_equal(sorted(member["name"] for member in status["members"]), list(BROKERS), "members")
    check_equal(status["transport"], "multicast", "transport on the bridge network")


def _kill_one(run, project):
    """The longest wait for an acknowledgement, in ms."""
    lines = run.numbered_lines(2000, "load ")
    producer = project.produce("load", run.write("load.in", lines), "--rate", 400)
    reader = project.start("n1", "consumer", "--topic", "load", "--follow", "--count", len(lines))
    wait_until(lambda: reader.line_count() > len(lines) // 4, 60, "a part of the load is read")
    victim = "n3"
    project.docker("kill", project.container(victim))
    producer.succeed(60)
    reader.succeed(60)
    compare_lines(reader.lines(), lines, "read while a container was killed")
    project.docker("start", project.container(victim))
    project.wait_for_health(victim, "healthy")
    compare_lines(project.consume(victim, "load"), lines, f"read through {victim} when it is back")
    project.start("n1", "logstreamctl", "verify").succeed(60)
    return float(producer.errors().rpartition("max ")[2].split()[0])


def _lose_quorum(project):
    """How long it took until the health check was red."""
    for broker in ("n2", "n3"):
        project.docker("kill", project.container(broker))
    watch = Stopwatch()
    said = project.wait_for_health("n1", "unhealthy")
    check("no quorum" in said, f"the health check does not say why it is red: {said}")
    seconds = watch.seconds
    for broker in ("n2", "n3"):
        project.docker("start", project.container(broker))
    for broker in BROKERS:
        project.wait_for_health(broker, "healthy")
    return seconds


def _make_anew(project, lines):
    def identity():
        return next(member["id"] for member in project.status("n1")["members"] if member["name"] == "n2")

    before, container = identity(), project.container("n2")
    project.recreate("n2")
    check(project.container("n2") != container, "the container of n2 is the old one")
    project.wait_for_health("n2", "healthy")
    check_equal(identity(), before, "identity of n2 in a new container")
    compare_lines(project.consume("n2", "app"), lines, "read through n2 in a new container")


def _stop_in_order(project):
    for broker in BROKERS:
        project.docker("stop", project.container(broker))
        state = project.inspect(broker)["State"]
        if state["ExitCode"] != 0:
            raise Failure(f"{broker} ended with {state['ExitCode']} on docker stop")
