#!/usr/bin/python3
"""Integration scenarios: real brokers, producers and consumers, on hosts of their own or on this machine's loopback.

Prints a line for each scenario, and at the end "N passed, N failed"; exits 1 if any failed. --help says more.
"""

import argparse
import contextlib
import os
import random
import shutil
import signal
import sys
import tempfile
import traceback

HERE = os.path.dirname(os.path.abspath(__file__))
PROJECT = os.path.dirname(os.path.dirname(HERE))
DEBIAN_PYTHON = "/usr/bin/python3"

try:
    import google.protobuf  # noqa: F401
except ImportError:
    # Another Python stands before the system's in PATH, and lacks what Debian's python3-protobuf gives.
    if os.path.realpath(sys.executable) == os.path.realpath(DEBIAN_PYTHON) or not os.path.exists(DEBIAN_PYTHON):
        sys.exit("run.py: Python's protobuf is missing; deploy/install-packages.sh --tests installs it")
    os.execv(DEBIAN_PYTHON, [DEBIAN_PYTHON, *sys.argv])

sys.path.insert(0, HERE)
sys.dont_write_bytecode = True

import modes  # noqa: E402
import scenarios  # noqa: E402,F401  (registers them)
import wire  # noqa: E402
from checks import Failure, Stopwatch, set_patience  # noqa: E402
from leftovers import remove_leftovers  # noqa: E402
from scenario import SCENARIOS, Run  # noqa: E402


def parse_arguments():
    parser = argparse.ArgumentParser(
        prog="run.py",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Runs scenarios on real processes, all or by name.",
        epilog="""examples:
  tests/integration/run.py                          all, in network namespaces (needs root)
  tests/integration/run.py trio stream-failover     these two
  tests/integration/run.py --mode loopback          those that need no hosts of their own; needs no root
  tests/integration/run.py --long split-start       50 starts in place of 7""",
    )
    parser.add_argument("names", nargs="*", metavar="NAME", help="scenarios; without one all but chaos, steady and upgrade-from")
    parser.add_argument("--list", action="store_true", help="print the names and exit")
    parser.add_argument(
        "--mode",
        choices=modes.NAMES,
        default="netns",
        help="where brokers live: hosts in network namespaces, ports of 127.0.0.1, or containers (default netns)",
    )
    parser.add_argument(
        "--build",
        metavar="DIR",
        default=os.path.join(PROJECT, "build"),
        help="build folder whose bin/ is tested (default build)",
    )
    parser.add_argument(
        "--log",
        metavar="FILE",
        default=os.environ.get("LOGSTREAM_TEST_LOG"),
        help="the log whose lines are sent (default $LOGSTREAM_TEST_LOG, else one that is found)",
    )
    parser.add_argument("--long", action="store_true", help="loads of 32 s under each fault, many rounds")
    parser.add_argument("--release", metavar="DIR", help="with upgrade-from: the programs of an earlier release")
    parser.add_argument("--minutes", type=float, help="how long chaos and steady take")
    parser.add_argument("--rounds", type=int, help="how often split-start starts a cluster (default 7; 50 with --long)")
    parser.add_argument("--seed", type=int, help="of the random moments and choices; a failure names it")
    parser.add_argument("--keep", action="store_true", help="keep logs and data of scenarios that passed, too")
    options = parser.parse_args()
    options.project = PROJECT
    options.programs = os.path.join(os.path.abspath(options.build), "bin")
    options.release = options.release and os.path.abspath(options.release)
    options.rounds = options.rounds or (50 if options.long else 7)
    for name in options.names:
        if name not in SCENARIOS:
            parser.error(f"there is no scenario '{name}'; there are: {', '.join(SCENARIOS)}")
    if options.list:
        print("\n".join(SCENARIOS))
        sys.exit(0)
    if not os.access(os.path.join(options.programs, "logstream"), os.X_OK):
        parser.error(f"there is no {options.programs}/logstream; build it first, or name another folder by --build")
    if options.mode != "loopback" and os.geteuid() != 0:
        if not shutil.which("sudo"):
            parser.error(f"--mode {options.mode} needs root, and there is no sudo; --mode loopback does without")
        log = ["--log", options.log] if options.log else []
        os.execvp("sudo", ["sudo", sys.executable, *sys.argv, *log])
    return options


def read_log(path):
    """Lines of a real log: the one asked for, the collection beside the project, or what this machine has."""
    collection = os.path.join(os.path.dirname(PROJECT), "shared", "data", "loghub")
    candidates = [path] if path else []
    if not path and os.path.isdir(collection):
        candidates += sorted(os.path.join(collection, name) for name in os.listdir(collection) if name.endswith(".log"))
    if not path:
        candidates += [
            "/var/log/dpkg.log",
            "/var/log/syslog",
            "/var/log/alternatives.log",
            "/var/log/apt/term.log",
            os.path.join(PROJECT, "build", "build.log"),
        ]
    for candidate in candidates:
        with contextlib.suppress(OSError), open(candidate, "rb") as file:
            lines = file.read(1 << 20).split(b"\n")[:-1]
            if len(lines) >= 20:
                return lines
    sys.exit(f"run.py: no log of 20 lines or more to send; tried {', '.join(candidates)}; name one by --log FILE")


@contextlib.contextmanager
def undisturbed():
    """A second Ctrl-C does not stop the cleaning up after the first."""
    before = [(number, signal.signal(number, signal.SIG_IGN)) for number in (signal.SIGINT, signal.SIGTERM)]
    try:
        yield
    finally:
        for number, handler in before:
            signal.signal(number, handler)


def run_one(scenario, folder, options, mode, log, seed):
    """Runs a scenario and prints its line; whether it passed."""
    watch = Stopwatch()
    run = Run(scenario.name, folder, options, mode, random.Random(f"{seed} {scenario.name}"), log)
    try:
        os.makedirs(folder)
        try:
            measured = scenario.function(run)
        finally:
            with undisturbed():
                run.close()
    except Exception as failure:  # whatever goes wrong is this scenario's failure, and the next one's turn
        text = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
        with open(os.path.join(folder, "failure.txt"), "w", encoding="utf-8") as file:
            traceback.print_exc(file=file)
        print(
            f"FAIL {scenario.name}: {' '.join(text.split())} (after {watch.seconds:.1f} s, --seed {seed}; logs in {folder})",
            flush=True,
        )
        return False
    print(f"PASS {scenario.name} {watch.seconds:.1f}s: {measured}", flush=True)
    return True


def run_all(options, mode, root, log, results):
    """Runs what was asked for, and lists what the mode cannot do; adds to `results` whether each scenario passed."""
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    skipped = 0
    for name in options.names or [name for name, scenario in SCENARIOS.items() if scenario.default]:
        scenario, folder = SCENARIOS[name], os.path.join(root, name)
        missing = next((need for need in scenario.needs if need in mode.lacks), None)
        reason = f"it needs {missing.value}; {mode.lacks[missing]}" if missing else None
        if reason or (not options.names and (reason := mode.skips(name))):
            print(f"SKIP {name}: {reason}", flush=True)
            skipped += 1
            continue
        passed = run_one(scenario, folder, options, mode, log, seed)
        results.append(passed)
        if passed and not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if skipped:
        print(f"{skipped} of {skipped + len(results)} scenarios were skipped: see SKIP", flush=True)


def main():
    options = parse_arguments()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    # The programs would inherit it from `nohup`, and rightly heed it.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    log = read_log(options.log)
    if os.geteuid() == 0:
        remove_leftovers()
    root = tempfile.mkdtemp(prefix="logstream-integration-")
    os.chmod(root, 0o711)  # brokers without privileges have to reach their folders
    results = []
    try:
        with tempfile.TemporaryDirectory(prefix="logstream-protos-") as protos:
            wire.compile_protos(PROJECT, protos)
        with contextlib.closing(modes.load(options.mode)(options, root)) as mode:
            set_patience(mode.patience)
            run_all(options, mode, root, log, results)
    except Failure as failure:
        sys.exit(f"run.py: --mode {options.mode}: {failure}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        sys.exit(130)
    finally:
        if all(results) and not options.keep:
            shutil.rmtree(root, ignore_errors=True)
    print(f"{results.count(True)} passed, {results.count(False)} failed")
    sys.exit(0 if all(results) else 1)


if __name__ == "__main__":
    main()
