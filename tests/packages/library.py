"""The client library's package: a program outside the project finds it, is linked to it, and appends a record."""

import os
import pathlib
import subprocess

from checks import Failure, command, wait_for

BROKER = "127.0.0.1:8001"


def fails(argv):
    return subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True).returncode != 0


def append_and_read(example, programs, inside, folder):
    """By the program, to a broker whose host has no network but its own."""
    broker = subprocess.Popen([*inside, programs / "logstream", "--address", BROKER, "--data", folder / "data"],
                              stderr=subprocess.DEVNULL)
    try:
        wait_for("the broker answers", lambda: not fails([*inside, programs / "logstreamctl", "status", "--brokers", BROKER]))
        host, port = BROKER.split(":")
        command([*inside, example, host, port, "t", "hello"])
        read = command([*inside, programs / "consumer", "--topic", "t", "--brokers", BROKER])
        if read != "hello\n":
            raise Failure(f"what was appended is read as '{read}'")
    finally:
        broker.kill()
        broker.wait()


def check_library(packages, folder, project):
    installed, build = folder / "root", folder / "build"
    installed.mkdir(parents=True)
    command(["dpkg-deb", "-x", packages["liblogstream-dev"], installed])
    example = pathlib.Path(__file__).parent / "example"
    command(["cmake", "-S", example, "-B", build, f"-DCMAKE_PREFIX_PATH={installed}/usr"])
    command(["cmake", "--build", build])
    namespace = f"logstream-library-{os.getpid()}"
    command(["ip", "netns", "add", namespace])
    try:
        command(["ip", "-n", namespace, "link", "set", "lo", "up"])
        append_and_read(build / "example", project / "build/bin", ["ip", "netns", "exec", namespace], folder)
    finally:
        command(["ip", "netns", "delete", namespace])
    lines = len((example / "main.cpp").read_text().splitlines())
    return f"a program of {lines} lines is built against it, and appends a record"
