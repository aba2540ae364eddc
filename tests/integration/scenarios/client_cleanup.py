"""Clients that die leave nothing behind in the brokers."""

from checks import Stopwatch, check
from client import wait_for_lines
from scenario import scenario


@scenario("client-cleanup")
def client_cleanup(run):
    cluster = run.cluster(3).start()
    cluster.create_topic("app", partitions=4)
    lines = run.numbered_lines(200)
    cluster.producer("app", "--file", run.write("app.in", lines)).succeed(30)
    before = _clients(cluster)
    clients = [
        cluster.consumer("app", "--group", f"group-{number % 2}", "--session-timeout", 2, "--follow")
        for number in range(4)
    ]
    clients += [cluster.consumer("app", "--follow") for _ in range(3)]
    for consumer in clients[4:]:
        wait_for_lines(consumer, len(lines), 20)
    clients.append(cluster.producer("app", "--message", "still there", "--rate", 50))

    def busy():
        now = _clients(cluster)
        return now["group_members"] >= 4 and now["waiting_fetches"] >= 3 and now, _text(now)

    during = cluster.wait_until(busy, 20, "the brokers count 4 members of groups and 3 waiting readers")
    check(during["connections"] > before["connections"], f"with clients {_text(during)}; before them {_text(before)}")
    for process in clients:
        process.kill()
    watch = Stopwatch()

    def clean():
        now = _clients(cluster)
        return all(now[key] <= before[key] for key in before), f"{_text(now)}; before the clients came: {_text(before)}"

    cluster.wait_until(clean, 30, "the brokers have forgotten the dead clients")
    return f"{_text(during)}; {watch.seconds:.1f} s after kill -9 (sessions of 2 s) as before: {_text(before)}"


def _clients(cluster):
    """What the brokers hold for clients: connections and readers of all together, groups as each of them knows them.
    Each is asked over one connection, which it counts."""
    counts = [broker.status()["clients"] for broker in cluster.brokers]
    return {key: (max if key.startswith("group") else sum)(count[key] for count in counts) for key in counts[0]}


def _text(clients):
    return ", ".join(f"{value} {key.replace('_', ' ')}" for key, value in clients.items())
