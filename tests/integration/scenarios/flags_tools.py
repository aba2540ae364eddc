"""Every flag of logstreamctl, netdiag and logstream-bench does what it says."""

from scenario import Need, scenario
from scenarios import flags_bench, flags_clients, flags_ctl, flags_netdiag, flags_topics
from scenarios.flags import run_checks


@scenario("flags-tools", Need.HOSTS, Need.PACKETS, Need.FILES, Need.NAMESPACES)
def flags_tools(run):
    # Followers that are kept from the records on purpose stay members; what is verified is read from disk.
    settings = {"replication.slow_member_timeout": "60s", "limits.cache_bytes": 0}
    cluster = run.cluster(3, **settings).start()
    modules = (flags_clients, flags_ctl, flags_topics, flags_netdiag, flags_bench)
    count = run_checks(modules, cluster, run, after=cluster.network.heal)
    return f"{count} checks of the flags of logstreamctl, netdiag and logstream-bench"
