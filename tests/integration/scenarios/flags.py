"""Every flag of producer and consumer does what it says: each has a check that fails if it is ignored."""

from checks import Failure, check
from scenario import Need, scenario
from scenarios import flags_consumer, flags_producer


# Checks of such names are left out where the mode lacks what they need.
NEEDS = {"_on_the_wire": Need.PACKETS, "_of_netns": Need.SCRIPTS}


def run_checks(modules, subject, run, after=lambda: None):
    """Runs all functions check_flag_…(subject) of the modules, and `after` each of them; fails with all that failed.
    Their number."""
    problems, count = [], 0
    for module in modules:
        for name, function in vars(module).items():
            lacking = any(name.endswith(end) and not run.has(need) for end, need in NEEDS.items())
            if not name.startswith("check_flag_") or lacking:
                continue
            count += 1
            try:
                function(subject)
            except (Failure, IndexError, KeyError, ValueError, OSError) as problem:
                problems.append(f"{module.__name__.rpartition('_')[2]} {name.removeprefix('check_flag_')}: {problem}")
            finally:
                after()
    check(not problems, f"{len(problems)} of {count}: " + " | ".join(problems))
    return count


@scenario("flags")
def flags(run):
    # Followers that are kept from the records on purpose stay members.
    cluster = run.cluster(3, **{"replication.slow_member_timeout": "60s"}).start()
    count = run_checks((flags_producer, flags_consumer), cluster, run)
    return f"{count} checks of the flags of producer and consumer"
