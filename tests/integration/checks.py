"""How a scenario fails, and how it waits: for a state, with a deadline, never for a time."""

import time


class Failure(Exception):
    """What was expected and what was found, in one line."""


def check(condition, message):
    if not condition:
        raise Failure(message)


def check_equal(found, expected, what):
    check(found == expected, f"{what}: expected {expected!r}, found {found!r}")


POLL_SECONDS = 0.02
_patience = 1


def set_patience(factor):
    """Every deadline is so many times as long: for hosts that are so much slower than this machine."""
    global _patience
    _patience = factor


def patient(duration):
    """A deadline, or a longest time, for hosts of this mode."""
    return duration * _patience


def wait_until(condition, seconds, what):
    """Returns the first true value of `condition()`; fails when there is none within `seconds`.

    A condition may return (value, text): the text of the last try says what was found in place of it.
    """
    seconds = patient(seconds)
    end = time.monotonic() + seconds
    while True:
        found, text = condition(), ""
        if isinstance(found, tuple):
            found, text = found
        if found:
            return found
        if time.monotonic() > end:
            raise Failure(f"not within {seconds:g} s: {what}" + (f"; last seen: {text}" if text else ""))
        time.sleep(POLL_SECONDS)


class Stopwatch:
    def __init__(self):
        self.began = time.monotonic()

    @property
    def seconds(self):
        return time.monotonic() - self.began
