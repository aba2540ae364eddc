"""What a person does with the package, in order, in a fresh Debian: each step begins where the one before it ended."""

import subprocess

from checks import Failure, wait_for

CONFIGURATION = "/etc/logstream/logstream.yaml"
DATA = "/var/lib/logstream"
EDIT = "\n# edited here\n"


def expect(condition, what):
    if not condition:
        raise Failure(what)


def deb(machine, newer=False):
    """The path inside of the package, or of that which it is upgraded to."""
    return f"/packages/{machine.packages[1 if newer else 0].name}"


def install_package(machine, path):
    return machine.run("apt-get", "install", "--yes", "--no-install-recommends", path)


def records(machine):
    return machine.run("logstream-consumer", "--topic", "t", "--brokers", "192.0.2.1:8001").splitlines()


def install(machine):
    install_package(machine, deb(machine))
    expect(machine.run("getent", "passwd", "logstream").startswith("logstream:"), "there is no user logstream")
    expect(machine.exists(CONFIGURATION), "there is no configuration")
    expect(machine.run("readlink", "-f", "/usr/bin/producer").strip() == "/usr/bin/logstream-producer",
           "producer is not logstream-producer")
    return machine.run("logstream", "--version").strip()


def start_without_edits(machine):
    machine.run("systemctl", "start", "logstream")
    expect(machine.service("ActiveState") == "active", "the service is not active")
    expect(machine.service("User") == "logstream", "it has not its own user")
    state = machine.wait_for_service("StatusText", lambda text: text.startswith("view "))
    owner = machine.run("stat", "-c", "%U:%a", DATA).strip()
    expect(owner == "logstream:750", f"the data folder is {owner}")
    return state


def produce_and_consume(machine):
    machine.run("producer", "--topic", "t", "--message", "hello", "--brokers", "192.0.2.1:8001")
    expect(records(machine) == ["hello"], f"read {records(machine)}")
    # By broadcast, as somebody does who knows no address.
    expect(machine.run("consumer", "--topic", "t").splitlines() == ["hello"], "nothing was read without --brokers")
    return "one record"


def produce_and_consume_without_systemd(machine):
    """The broker as the service starts it, but for the service."""
    machine.run("install", "--directory", "--owner=logstream", "--group=logstream", "--mode=750", DATA)
    broker = subprocess.Popen(machine.argv("setpriv", "--reuid=logstream", "--regid=logstream", "--clear-groups",
                                           "logstream", "--config", CONFIGURATION), stderr=subprocess.DEVNULL)
    try:
        wait_for("the broker is in a view", lambda: not machine.fails("logstreamctl", "status"))
        return produce_and_consume(machine)
    finally:
        broker.terminate()
        broker.wait(60)


def judge_itself(machine):
    """The unit where it lives, by the systemd that runs it."""
    machine.run("systemd-analyze", "verify", "--man=no", "logstream.service")
    return machine.run("systemd-analyze", "security", "--no-pager", "--threshold=49",
                       "logstream.service").strip().splitlines()[-1].removeprefix("→ ")


def reload(machine):
    pid = machine.service("MainPID")
    machine.run("systemctl", "reload", "logstream")
    wait_for("the broker says that it has read its configuration again",
             lambda: "CONFIG reloaded" in machine.run("journalctl", "--no-pager", "--unit", "logstream"))
    expect(machine.service("MainPID") == pid, "it was started anew")
    return "read again by the same process"


def restart_after_a_kill(machine):
    pid = machine.service("MainPID")
    machine.run("systemctl", "kill", "--signal=KILL", "logstream")
    machine.wait_for_service("MainPID", lambda text: text not in ("0", pid))
    machine.wait_for_service("StatusText", lambda text: text.startswith("view "))
    expect(records(machine) == ["hello"], "what was acknowledged is gone")
    return f"{machine.service('NRestarts')} restart"


def restart_of_a_loop_that_hangs(machine):
    """A stopped process stands for it: neither says that it lives."""
    machine.run("sh", "-c", "mkdir -p /run/systemd/system/logstream.service.d && printf '[Service]\\nWatchdogSec=2s\\n'"
                " >/run/systemd/system/logstream.service.d/watchdog.conf && systemctl daemon-reload"
                " && systemctl restart logstream")
    pid = machine.service("MainPID")
    machine.run("kill", "-STOP", pid)
    machine.wait_for_service("MainPID", lambda text: text not in ("0", pid))
    machine.wait_for_service("StatusText", lambda text: text.startswith("view "))
    machine.run("sh", "-c", "rm -r /run/systemd/system/logstream.service.d && systemctl daemon-reload"
                " && systemctl restart logstream")
    return "ended by the watchdog, and started anew"


def upgrade(machine):
    with open(machine.path(CONFIGURATION), "a", encoding="utf-8") as file:
        file.write(EDIT)
    install_package(machine, deb(machine, newer=True))
    expect(machine.path(CONFIGURATION).read_text().endswith(EDIT), "the edited configuration was overwritten")
    version = machine.run("dpkg-query", "--show", "--showformat=${Version}", "logstream")
    expect(deb(machine, newer=True) == f"/packages/logstream_{version}_amd64.deb", f"the version is {version}")
    return f"to {version}, with the edited configuration"


def keep_data_across_the_upgrade(machine):
    machine.wait_for_service("StatusText", lambda text: text.startswith("view "))
    expect(records(machine) == ["hello"], f"read {records(machine)}")
    return "the record is there"


def remove(machine):
    machine.run("apt-get", "remove", "--yes", "logstream")
    expect(not machine.exists("/usr/bin/logstream"), "the program is there")
    expect(not machine.exists("/usr/bin/producer"), "the short name is there")
    expect(machine.path(CONFIGURATION).read_text().endswith(EDIT), "the edited configuration is gone")
    expect(machine.run("getent", "passwd", "logstream"), "the user of the data is gone")
    return "programs are gone, configuration and user are there"


def keep_data_across_the_removal(machine):
    expect(machine.service("ActiveState") == "inactive", "the service runs on")
    expect(machine.exists(DATA), "the data are gone")
    return DATA


def leave_the_name_to_another_program(machine):
    other = machine.path("/usr/bin/producer")
    other.write_text("#!/bin/sh\necho another\n")
    other.chmod(0o755)
    install_package(machine, deb(machine, newer=True))
    expect(machine.run("producer").strip() == "another", "another package's producer was replaced")
    expect(machine.run("/usr/lib/logstream/bin/producer", "--version").startswith("producer "), "the folder's is not ours")
    machine.run("apt-get", "remove", "--yes", "logstream")
    expect(machine.exists("/usr/bin/producer"), "another package's producer was removed")
    other.unlink()
    return "/usr/bin/producer is the other's"


def find_the_data_again(machine):
    install_package(machine, deb(machine, newer=True))
    machine.wait_for_service("StatusText", lambda text: text.startswith("view "))
    expect(records(machine) == ["hello"], f"read {records(machine)}")
    return "the record is there"


def purge(machine):
    machine.run("apt-get", "purge", "--yes", "logstream")
    for path in (DATA, "/etc/logstream", "/usr/lib/logstream", "/usr/bin/producer"):
        expect(not machine.exists(path), f"{path} is there")
    for database in ("passwd", "group"):
        expect(machine.fails("getent", database, "logstream"), f"logstream is in {database}")
    leftovers = machine.run("find", "/etc", "/var/lib/systemd", "/usr/share", "-name", "*logstream*").split()
    expect(not leftovers, f"left over: {leftovers}")
    return "nothing is left"


STEPS = [install, produce_and_consume_without_systemd, start_without_edits, produce_and_consume, judge_itself, reload, restart_after_a_kill,
         restart_of_a_loop_that_hangs, upgrade, keep_data_across_the_upgrade, remove, keep_data_across_the_removal,
         leave_the_name_to_another_program, find_the_data_again, purge]
WITHOUT_SYSTEMD = {produce_and_consume_without_systemd}
NEED_SYSTEMD = {start_without_edits, produce_and_consume, judge_itself, reload, restart_after_a_kill,
                restart_of_a_loop_that_hangs, keep_data_across_the_upgrade, keep_data_across_the_removal,
                find_the_data_again}
