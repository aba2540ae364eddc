"""Brokers that have nothing to do do nothing."""

import os

from checks import Stopwatch, check
from scenario import Need, scenario

MEASURED_SECONDS = 6
LIMIT = 0.01  # of a core


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@scenario("idle", Need.FILES)
def idle(run):
    cluster = run.cluster(3).start()
    cluster.producer("app", "--file", run.write("app.in", run.log_lines(2000))).succeed(30)
    cluster.read("app")
    cluster.wait_for_view()
    # The one place that waits for a time and not for a state: it is the time that is measured.
    before, watch = [cpu_seconds(broker.pid) for broker in cluster.brokers], Stopwatch()
    cluster.wait_until(lambda: watch.seconds >= MEASURED_SECONDS, MEASURED_SECONDS + 5, "the time measured is over")
    shares = [(cpu_seconds(broker.pid) - used) / watch.seconds for broker, used in zip(cluster.brokers, before)]
    text = ", ".join(f"{share:.2%}" for share in shares)
    check(max(shares) < LIMIT, f"idle brokers use {text} of a core")
    return f"{text} of a core over {watch.seconds:.1f} s"
