#!/usr/bin/env python3
"""Runs the benchmarks; tests/bench/run.sh is the way to call it."""

import argparse
import contextlib
import itertools
import os
import signal
import sys

import report
from cases import CASES, FULL, LONG, QUICK
from network import LoopbackNetwork, NamespaceNetwork, namespaces_work
from processes import Failure

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class Bench:
    """What all cases share."""

    def __init__(self, options):
        self.root = ROOT
        self.bin = os.path.abspath(options.bin)
        self.folder = os.path.abspath(options.dir)
        self.seconds = options.seconds or (3 if options.quick else 10)
        self.warm_up = 1 if self.seconds < 10 else 2
        self.rounds = options.rounds
        os.makedirs(self.folder, exist_ok=True)

    def program(self, name):
        path = os.path.join(self.bin, name)
        if not os.access(path, os.X_OK):
            raise Failure(f"there is no {path}")
        return path


@contextlib.contextmanager
def laid(bed, bench, loopback):
    """The bed's brokers, running; removed at the end."""
    network = LoopbackNetwork() if loopback else NamespaceNetwork(ROOT, bed.brokers, bed.offload)
    network.bench = bench
    with contextlib.ExitStack() as stack:
        stack.callback(network.remove)
        if bed.system is None:
            yield network
            return
        system = bed.system(bench, network, *([bed.settings] if bed.settings else []))
        stack.callback(system.remove)
        system.start()
        yield system


def measure(cases, bench, loopback, show):
    """The results of all, in their order; of those that can't be measured they say why."""
    results = []

    def keep(case, fields):
        results.append({"case": case.name, "what": case.what, **fields})
        show(results[-1])

    for bed, group in itertools.groupby(cases, lambda case: case.bed):
        waiting = list(group)
        try:
            with laid(bed, bench, loopback) as system:
                while waiting:
                    case = waiting[0]
                    try:
                        fields = case.measure(system)
                    except Failure as failure:
                        fields = {"error": str(failure)}
                    keep(waiting.pop(0), fields)
        except Failure as failure:
            for case in waiting:
                keep(case, {"error": str(failure)})
    return results


def chosen(options):
    if options.cases:
        known = {case.name for case in CASES} | {case.name.split("/")[0] for case in CASES}
        for name in options.cases:
            if name not in known:
                print(f"run.sh: there is no case '{name}'; --list tells which there are", file=sys.stderr)
                sys.exit(2)
        return [case for case in CASES if case.name in options.cases or case.name.split("/")[0] in options.cases]
    most = QUICK if options.quick else LONG if options.long else FULL
    return [case for case in CASES if case.when <= most or (options.limits and case.name == "limits")]


def parse():
    parser = argparse.ArgumentParser(
        prog="tests/bench/run.sh",
        description="Measures three brokers in three network namespaces of this machine, with the load in a fourth; "
        "what the machine could do; and other brokers under the same load. All share its processors and its disk: "
        "compare figures of one machine only. Root, and deploy/install-packages.sh --bench, are needed for all but "
        "--quick, which without root takes place on loopback.",
    )
    parser.add_argument("cases", nargs="*", metavar="CASE", help="only these; nats, redis, … are all of a peer's")
    parser.add_argument("--quick", action="store_true", help="a few cases, three seconds each, under 50 s in all")
    parser.add_argument("--long", action="store_true", help="also the cases that store 10 GB or take ten minutes")
    parser.add_argument("--limits", action="store_true", help="with --quick: also what this machine could do")
    parser.add_argument("--seconds", type=float, metavar="N", help="that each case is measured (10; with --quick 3)")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of each fail-over (default %(default)s)")
    parser.add_argument("--json", action="store_true", help="print a JSON list, one object a case, not the table")
    parser.add_argument("--list", action="store_true", help="print the cases, measure nothing")
    parser.add_argument("--bin", default=os.path.join(ROOT, "build", "bin"), metavar="DIR", help="the programs")
    parser.add_argument(
        "--dir",
        default=os.path.join(ROOT, "build", "bench"),
        metavar="DIR",
        help="for data, on the disk that is to be measured, and for results.txt, .json and .svg (default build/bench)",
    )
    return parser.parse_args()


def main():
    options = parse()
    cases = chosen(options)
    if options.list:
        print("\n".join(f"{case.name:24} {case.what}" for case in CASES))
        return 0
    loopback = not namespaces_work()
    if loopback:
        cases = [case for case in cases if case.when == QUICK or case.name == "limits"]
        print("run.sh: no network namespaces (not root?): on loopback, only what can be done there", file=sys.stderr)
    bench = Bench(options)
    results = measure(cases, bench, loopback, lambda result: print(report.line(result), file=sys.stderr))
    text = report.text(results)
    for name, content in (("txt", text), ("json", report.as_json(results)), ("svg", report.plot(results))):
        with open(os.path.join(bench.folder, f"results.{name}"), "w", encoding="utf-8") as file:
            file.write(content)
    print(report.as_json(results) if options.json else text, end="")
    return 1 if any("error" in result for result in results) else 0


if __name__ == "__main__":
    # Ended from outside, it still removes what it made.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
