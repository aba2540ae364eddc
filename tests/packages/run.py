#!/usr/bin/python3
"""The Debian packages, made and tried: lintian, the service's unit, the client library, and a fresh Debian into which
they are installed, upgraded, removed and purged.

Prints a line for each check, and at the end "N passed, N failed"; exits 1 if any failed. Needs root, and for the fresh
Debian a mirror; what it does without either it says.
"""

import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))
sys.dont_write_bytecode = True

import installation  # noqa: E402
from checks import Failure, Report, command  # noqa: E402
from library import check_library  # noqa: E402
from machine import Machine, Unavailable  # noqa: E402

PROJECT = HERE.parents[1]
NEWER = "0.1.0+1"  # of the packages that are upgraded to


def build(folder, *arguments):
    """Makes both packages and moves them to `folder`."""
    folder.mkdir()
    made = command([PROJECT / "deploy/package.sh", *arguments]).split()
    if len(made) != 2:
        raise Failure(f"deploy/package.sh made {made}, not two packages")
    return {pathlib.Path(path).name.split("_")[0]: pathlib.Path(shutil.move(path, folder)) for path in made}


def check_lintian(packages):
    found = command(["lintian", "--allow-root", "--tag-display-limit", "0", "--fail-on", "error", *packages.values()])
    warnings = [line for line in found.splitlines() if line.startswith("W:")]
    return f"no errors, {len(warnings)} warnings" + "".join(f"; {line}" for line in warnings)


def check_unit(packages, folder):
    """The unit as the package has it, but for the program, which is not installed here."""
    command(["dpkg-deb", "-x", packages["logstream"], folder])
    text = (folder / "usr/lib/systemd/system/logstream.service").read_text()
    unit = folder / "logstream.service"
    unit.write_text(text.replace("ExecStart=/usr/bin/logstream ", f"ExecStart={folder}/usr/bin/logstream "))
    verified = command(["systemd-analyze", "verify", "--man=no", unit], both=True)
    if verified.strip():
        raise Failure(f"systemd-analyze verify: {verified}")
    # 5.0 and above is "MEDIUM".
    judged = command(["systemd-analyze", "security", "--offline=true", "--no-pager", "--threshold=49", unit])
    return judged.strip().splitlines()[-1].removeprefix("→ ")


def check_shells(folder):
    """The completions of zsh are read, those of fish complete; bash's are tried by tests/unit/install_test.py."""
    share = folder / "usr/share"
    for path in sorted((share / "zsh/vendor-completions").iterdir()):
        command(["zsh", "-n", path])
    for path in sorted((share / "fish/vendor_completions.d").iterdir()):
        command(["fish", "--no-execute", path])
    script = f"source {share}/fish/vendor_completions.d/logstreamctl.fish; complete -C 'logstreamctl topics cr'"
    offered = command(["fish", "--no-config", "-c", script], env=os.environ | {"PATH": f"{folder}/usr/bin:{os.environ['PATH']}"})
    if offered.split("\t")[0] != "create":
        raise Failure(f"fish offers '{offered}' for 'logstreamctl topics cr'")
    return "fish and zsh"


def try_on_a_fresh_debian(report, packages, newer, folder):
    try:
        machine = Machine(folder / "root", [packages["logstream"], newer["logstream"]])
    except Unavailable as why:
        report.skip("installation", str(why))
        return
    with machine:
        report.say(f"the fresh Debian {machine.describe()}")
        for step in installation.STEPS:
            name = step.__name__.replace("_", "-")
            if machine.booted and step in installation.WITHOUT_SYSTEMD:
                continue
            if not machine.booted and step in installation.NEED_SYSTEMD:
                report.skip(name, machine.why_not_booted)
            elif not report.run(name, step, machine):
                break


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    if os.geteuid() != 0:
        sys.exit("tests/packages/run.py: it installs packages into a Debian of its own, which needs root: use sudo")
    report = Report()
    with tempfile.TemporaryDirectory(prefix="logstream-packages-", dir="/var/tmp") as name:
        folder = pathlib.Path(name)
        packages = {}
        if report.run("build", lambda: packages.update(build(folder / "packages")) or ", ".join(
                path.name for path in packages.values())):
            newer = build(folder / "newer", "--version", NEWER)
            report.run("lintian", check_lintian, packages)
            report.run("unit", check_unit, packages, folder / "unpacked")
            report.run("shells", check_shells, folder / "unpacked")
            report.run("library", check_library, packages, folder / "library", PROJECT)
            try_on_a_fresh_debian(report, packages, newer, folder)
    report.finish()


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as failure:
        sys.exit(f"tests/packages/run.py: {failure}")
