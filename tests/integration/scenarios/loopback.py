"""Three brokers on 127.0.0.1, run by a user without any privileges."""

import os
import shutil

from checks import check, check_equal
from client import Load
from modes.loopback import LoopbackNetwork
from scenario import Need, scenario

NOBODY = 65534


@scenario("loopback", Need.LOOPBACK)
def loopback(run):
    # A root runner takes a namespace without any interface but lo: the brokers touch no network. Otherwise: as we are.
    network = run.network(3, LoopbackNetwork)
    if os.geteuid() == 0:
        network.before = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--no-new-privs"]
        # Where this project lies may be closed to others.
        programs = os.path.join(run.folder, "bin")
        os.makedirs(programs)
        for name in ("logstream", "producer", "consumer", "logstreamctl"):
            shutil.copy(run.program(name), programs)
        run.programs = programs
    cluster = run.cluster(3, network)
    for broker in cluster.brokers:
        os.makedirs(broker.data)
        os.chmod(broker.data, 0o700)
        if os.geteuid() == 0:
            os.chown(broker.data, NOBODY, NOBODY)
    cluster.start()
    for broker in cluster.brokers:
        with open(f"/proc/{broker.pid}/status", encoding="ascii") as file:
            fields = dict(line.split(":\t", 1) for line in file.read().splitlines() if ":\t" in line)
        check("0" not in fields["Uid"].split(), f"{broker} runs as root")
        check_equal(int(fields["CapEff"], 16), 0, f"capabilities of {broker}")
        check_equal(broker.status()["transport"], "multicast", f"transport that {broker} names")
    load = Load(cluster, cluster.create_topic("app"), seconds=2, brokers=None)
    load.reach(0.5)
    owner = cluster.owner("app")
    owner.kill()
    cluster.wait_for_view([broker for broker in cluster.brokers if broker is not owner])
    gap = load.finish()
    cluster.verify()
    return f"multicast on lo, clients found brokers by broadcast, owner killed under load: write gap {gap:.0f} ms"
