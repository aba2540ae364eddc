"""Commands, and the lines that say what came of the checks."""

import subprocess
import sys
import time


class Failure(Exception):
    pass


def command(argv, both=False, **options):
    """The standard output of a command, with `both` its standard error too; fails with what it said."""
    done = subprocess.run([str(word) for word in argv], text=True, errors="replace", stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT if both else subprocess.PIPE, stdin=subprocess.DEVNULL, **options)
    if done.returncode != 0:
        said = (done.stdout + (done.stderr or "")).strip().splitlines()[-8:]
        raise Failure(f"{' '.join(map(str, argv))} ended with {done.returncode}: {' | '.join(said)}")
    return done.stdout


def wait_for(what, condition, seconds=60):
    """Waits until `condition` gives something true, which it returns."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise Failure(f"not within {seconds} s: {what}")
        time.sleep(0.1)
    return found


class Report:
    def __init__(self):
        self.passed = self.failed = 0

    def say(self, line):
        print(line, flush=True)

    def skip(self, name, why):
        self.say(f"SKIP {name}: {why}")

    def run(self, name, check, *arguments):
        """Whether it passed."""
        begin = time.monotonic()
        try:
            result = check(*arguments)
        except Exception as failure:  # whatever goes wrong is this check's failure, and the next one's turn
            text = str(failure) if isinstance(failure, Failure) else f"{type(failure).__name__}: {failure}"
            self.say(f"FAIL {name}: {' '.join(text.split())}")
            self.failed += 1
            return False
        self.say(f"PASS {name} {time.monotonic() - begin:.1f}s: {result}")
        self.passed += 1
        return True

    def finish(self):
        self.say(f"{self.passed} passed, {self.failed} failed")
        sys.exit(1 if self.failed else 0)
