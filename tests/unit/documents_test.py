#!/usr/bin/env python3
"""What the documents name exists: files that they link to, tests, scenarios and planted bugs."""

import pathlib
import re
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Documents that tell by which tests a rule is held.
PROTOCOLS = ("internal/README.md", "internal/view/PROTOCOL.md", "internal/replication/PROTOCOL.md", "internal/node/DISCOVERY.md")


def documents():
    for path in sorted(ROOT.rglob("*.md")):
        parts = path.relative_to(ROOT).parts
        if parts[0] != "build" and not any(part.startswith(".") for part in parts):
            yield path


def broken_links(path):
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", path.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target) and not (path.parent / target).exists():
            yield f"there is no {target}"


def names_of_tests():
    for path in (ROOT / "tests" / "unit").glob("*.cpp"):
        for suite, name in re.findall(r"\bTEST(?:_F|_P)?\((\w+),\s*(\w+)\)", path.read_text(encoding="utf-8")):
            yield f"{suite}.{name}"


def unknown_names(path, tests, scenarios, bugs):
    text = path.read_text(encoding="utf-8")
    suites = {test.partition(".")[0] for test in tests}
    for name in re.findall(r"\b[A-Z]\w+\.[A-Z]\w+\b", text):
        if name.partition(".")[0] in suites and name not in tests:
            yield f"there is no test {name}"
    for name in re.findall(r"\b[a-z]+(?:_[a-z]+){3,}\b(?!\*|_|\.|\()", text):
        if name not in scenarios and not name_is_code(name):
            yield f"there is no scenario {name}"
    for name in re.findall(r'"([a-z]+(?:-[a-z]+)+)"', text):
        if name not in bugs:
            yield f"there is no planted bug {name}"


_code = None


def name_is_code(name):
    """Long names of functions, fields and settings are none of scenarios."""
    global _code
    if _code is None:
        files = [ROOT / "main.cpp", ROOT / "proto" / "logstream.proto"]
        for folder in ("internal", "tests"):
            files += [path for path in (ROOT / folder).rglob("*") if path.suffix in (".h", ".cpp", ".py")]
        _code = set(re.findall(r"\b[a-z_]+\b", "\n".join(file.read_text(encoding="utf-8") for file in files)))
    return name in _code


def main():
    tests = set(names_of_tests())
    scenarios = {path.stem for path in (ROOT / "tests" / "sim" / "scenarios").glob("*.txt")}
    planted = (ROOT / "tests" / "sim" / "planted.cpp").read_text(encoding="utf-8")
    bugs = set(re.findall(r'"([a-z]+(?:-[a-z]+)*)"', planted))
    wrong = [f"{path.relative_to(ROOT)}: {text}" for path in documents() for text in broken_links(path)]
    for name in PROTOCOLS:
        wrong += [f"{name}: {text}" for text in unknown_names(ROOT / name, tests, scenarios, bugs)]
    for line in wrong:
        print(line)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
