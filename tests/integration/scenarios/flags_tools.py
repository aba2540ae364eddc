"""Every flag of logstreamctl, netdiag and logstream-bench does what it says."""

from scenario import scenario
from scenarios import flags_bench, flags_clients, flags_ctl, flags_netdiag
from scenarios.flags import run_checks


@scenario("flags-tools", namespaces=True)
def flags_tools(run):
    # Followers that are kept from the records on purpose stay members; what is verified is read from disk.
    settings = {"replication.slow_member_timeout": "60s", "limits.cache_bytes": 0}
    cluster = run.cluster(3, **settings).start()
    modules = (flags_clients, flags_ctl, flags_netdiag, flags_bench)
    count = run_checks(modules, cluster, run.mode, after=cluster.network.heal)
    return f"{count} checks of the flags of logstreamctl, netdiag and logstream-bench"
