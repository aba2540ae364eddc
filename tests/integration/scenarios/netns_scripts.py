"""The scripts of deploy/netns, as a person uses them."""

import json
import os

from checks import check_equal
from process import run as run_command
from scenario import Need, scenario


@scenario("netns-scripts", Need.SCRIPTS)
def netns_scripts(run):
    network = run.network(3)  # setup-netns.sh; its last host is one more for clients
    hosts = [word for host in (1, 2, 3) for word in ("--host", host)]
    common = ["--name", network.name, "--data", os.path.join(run.folder, "scripts")]

    def script(name, *flags):
        return run_command([os.path.join(run.project, "deploy", "netns", name), *common, *flags], seconds=60)

    def members():
        words = ["status", "--json", "--brokers", f"{network.ip(1)}:8001"]
        process = run.start(network.place(network.client), [run.program("logstreamctl"), *words]).succeed(20)
        return sorted(
            member["name"] for member in json.loads(process.output())["members"] if member["role"] != "learner"
        )

    binary = ["--binary", run.program("logstream")]
    try:
        script("start-cluster.sh", *binary, *hosts)
        check_equal(members(), ["n1", "n2", "n3"], "members after start-cluster.sh")
        script("stop-cluster.sh", "--host", 3, "--kill")
        script("start-cluster.sh", *binary, "--host", 3)
        check_equal(members(), ["n1", "n2", "n3"], "members after --kill and a new start of one")
    finally:
        script("stop-cluster.sh")
    return "setup, start, stop --kill of one, start again, stop"
