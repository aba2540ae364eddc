"""Brokers that have nothing to do do nothing."""

import os

from checks import Stopwatch, check
from scenario import Need, scenario

MEASURED_SECONDS = 6
# How often a broker wakes does not depend on the machine, what a wake costs does: on a quiet one that is 0.3% of a core.
# The second limit finds what does not sleep at all.
WAKES_PER_SECOND = 80
CORE_SHARE = 0.05


def cpu_seconds(pid):
    with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
        fields = file.read().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wakes(pid):
    """How often the threads of the process have gone to sleep so far."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with open(f"/proc/{pid}/task/{thread}/status", encoding="utf-8", errors="replace") as file:
            total += next(int(line.split()[1]) for line in file if line.startswith("voluntary_ctxt_switches"))
    return total


@scenario("idle", Need.FILES)
def idle(run):
    cluster = run.cluster(3).start()
    cluster.producer("app", "--file", run.write("app.in", run.log_lines(2000))).succeed(30)
    cluster.read("app")
    cluster.wait_for_view()
    # The one place that waits for a time and not for a state: it is the time that is measured.
    pids = [broker.pid for broker in cluster.brokers]
    before, watch = [(cpu_seconds(pid), wakes(pid)) for pid in pids], Stopwatch()
    cluster.wait_until(lambda: watch.seconds >= MEASURED_SECONDS, MEASURED_SECONDS + 5, "the time measured is over")
    seconds = watch.seconds
    shares = [(cpu_seconds(pid) - used) / seconds for pid, (used, _) in zip(pids, before)]
    rates = [(wakes(pid) - woken) / seconds for pid, (_, woken) in zip(pids, before)]
    text = ", ".join(f"{rate:.0f}/s" for rate in rates) + "; " + ", ".join(f"{share:.2%}" for share in shares)
    check(max(rates) < WAKES_PER_SECOND, f"idle brokers wake too often: {text} of a core")
    check(max(shares) < CORE_SHARE, f"idle brokers do not sleep: they wake {text} of a core")
    return f"brokers wake {text} of a core over {seconds:.1f} s"
