"""Every flag of producer and consumer does what it says: each has a check that fails if it is ignored."""

from checks import Failure, check
from scenario import scenario
from scenarios import flags_consumer, flags_producer


@scenario("flags")
def flags(run):
    # Followers that are kept from the records on purpose stay members.
    cluster = run.cluster(3, **{"replication.slow_member_timeout": "60s"}).start()
    problems, count = [], 0
    for module in (flags_producer, flags_consumer):
        for name, function in vars(module).items():
            if not name.startswith("check_flag_") or (name.endswith("_on_the_wire") and run.mode != "netns"):
                continue
            count += 1
            try:
                function(cluster)
            except (Failure, IndexError, ValueError, OSError) as problem:
                problems.append(f"{module.__name__.rpartition('_')[2]} {name.removeprefix('check_flag_')}: {problem}")
    check(not problems, f"{len(problems)} of {count}: " + " | ".join(problems))
    return f"{count} checks of the flags of producer and consumer"
