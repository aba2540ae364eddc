"""What README shows works as it is typed, and prints what README shows."""

import os
import re

from checks import check, check_equal
from scenario import Need, scenario

SECTIONS = ("## A five-minute tour", "### At the shell")
STARTS_A_BROKER = "logstream"


def _commands(text):
    """The commands of all blocks between `text`'s headings, each with the lines that it prints there."""
    for heading in SECTIONS:
        section = re.split(r"^##", text.partition(heading)[2], maxsplit=1, flags=re.M)[0]
        for block in re.findall(r"^```\n(.*?)^```", section, flags=re.M | re.S):
            for part in re.split(r"^\$ ", block, flags=re.M)[1:]:
                command, _, printed = part.partition("\n")
                yield command, [line for line in printed.splitlines() if line]


def _shape(line):
    """A line but for what differs from run to run: numbers, ids, who is the leader, and spaces of columns."""
    line = re.sub(r"\b[0-9a-f]{16}\b", "ID", line)
    line = re.sub(r"\d[\d.]*(:\d+)?( (KiB|MiB|B)\b)?", "N", line)
    line = re.sub(r"\b(leader|follower)\b +N", "ROLE N", line)
    return re.sub(r" +", " ", line).strip()


@scenario("readme", Need.FILES)
def readme(run):
    cluster = run.cluster(3, name="logstream").start()
    place = os.path.join(run.folder, "readme")
    os.makedirs(place)
    lines = run.log_lines(2000)
    with open(os.path.join(place, "Linux_2k.log"), "wb") as file:
        file.write(b"".join(line + b"\n" for line in lines))
    with open(os.path.join(run.project, "README.md"), encoding="utf-8") as file:
        commands = list(_commands(file.read()))
    check(len(commands) > 15, f"README has only {len(commands)} commands")
    environment = {"PATH": run.program("") + ":" + os.environ["PATH"], "HOME": place}
    content = {line.decode(errors="replace").strip() for line in lines} - {""}
    for command, expected in commands:
        if command == STARTS_A_BROKER:
            continue
        words = ["bash", "-c", f"cd {place} && set -o pipefail && {command}"]
        process = run.start(cluster.client_place, words, environment=environment).succeed(60)
        printed = (process.output().decode(errors="replace") + process.errors()).splitlines()
        printed = [line for line in printed if line]
        if not expected:
            continue
        check_equal(len(printed), len(expected), f"lines that {command!r} prints: {printed}")
        for line, shown in zip(printed, expected):
            of_the_file = line in content or any(each in line for each in content)
            check(of_the_file or _shape(line) == _shape(shown), f"{command!r} prints {line!r}, README shows {shown!r}")
    return f"{len(commands)} commands as README shows them"
