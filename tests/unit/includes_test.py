#!/usr/bin/env python3
"""Arrows point one way: every include is one that the room's CMake line and the pure rooms' rules allow.

The rooms and what they may use are read from internal/CMakeLists.txt, cmd/CMakeLists.txt and CMakeLists.txt, so that
the build and this test have one list. Each rule is also tried on a copy of the tree with a planted offence.
"""

import pathlib
import re
import shutil
import sys
import tempfile
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]

# These know no clock, no chance, no socket, no file and no thread; what they need comes in as an argument or by `Env`.
PURE = {"protocol", "failure", "election", "ring", "view", "replication"}
WITHOUT_IO = PURE | {"node", "client"}
FORBIDDEN_HEADERS = re.compile(
    r"^(sys/(socket|un|epoll|select|stat|mman|uio)\.h|netinet/.*|arpa/.*|net/.*|netdb\.h|poll\.h|fcntl\.h|unistd\.h|"
    r"time\.h|ctime|pthread\.h|fstream|iostream|filesystem|thread|stop_token|mutex|shared_mutex|condition_variable|"
    r"future|semaphore|latch|barrier)$")
FORBIDDEN_WORDS = re.compile(
    r"\b(?:(?:steady|system|high_resolution|utc)_clock::now|random_device|gettimeofday|clock_gettime|getrandom|getenv|"
    r"this_thread|std::cout|std::cerr)\b")
SUFFIXES = {".h", ".cpp"}


class Layout:
    """Who may include whom, as the CMake files say: `uses` has the libraries that each library links."""

    def __init__(self, root):
        self.root = root
        self.uses = {}
        text = without_comments((root / "internal/CMakeLists.txt").read_text(), "#")
        for arguments in re.findall(r"^logstream_room\(([^)]*)\)", text, re.M):
            words = arguments.split()
            uses = words[words.index("USES") + 1:] if "USES" in words else []
            self.uses[words[0]] = {w for w in uses[:uses.index("LIBRARIES")] if w} if "LIBRARIES" in uses else set(uses)
        self.uses["proto"] = set()
        # What the tools share is a library of cmd/, in the folder of its name.
        self.cmd = without_comments((root / "cmd/CMakeLists.txt").read_text(), "#")
        self.shared = rooms_in(" ".join(re.findall(r"add_library\((\w+)", self.cmd)))
        for name in self.shared:
            self.uses[name] = rooms_in(re.search(rf"target_link_libraries\(logstream_{name} ([^)]*)\)", self.cmd).group(1))

    def reachable(self, rooms):
        found, waiting = set(), list(rooms)
        while waiting:
            room = waiting.pop()
            if room in found:
                continue
            found.add(room)
            waiting += self.uses.get(room, ())
        return found

    def tools(self):
        """The folder of each tool, and the rooms that its target links."""
        function = re.search(r"function\(logstream_tool.*?endfunction\(\)", self.cmd, re.S).group(0)
        common = rooms_in(re.search(r"target_link_libraries\(([^)]*)\)", function).group(1))
        calls = self.cmd.replace(function, "")
        return {words[1]: common | rooms_in(" ".join(words[2:]))
                for words in (call.split() for call in re.findall(r"^\s*logstream_tool\(([^)]*)\)", calls, re.M))}

    def broker(self):
        text = without_comments((self.root / "CMakeLists.txt").read_text(), "#")
        return rooms_in(re.search(r"target_link_libraries\(\$\{name\} PRIVATE([^)]*)\)", text).group(1))


def rooms_in(words):
    return set(re.findall(r"\blogstream_(\w+)", words))


def without_comments(text, kind):
    if kind == "#":
        return re.sub(r"#.*", "", text)
    # Newlines stay, so that line numbers do.
    text = re.sub(r"/\*.*?\*/", lambda m: "\n" * m.group(0).count("\n"), text, flags=re.S)
    return re.sub(r"//.*", "", text)


def sources(folder):
    return sorted(p for p in folder.rglob("*") if p.suffix in SUFFIXES and p.is_file())


def cycles(layout):
    for room in sorted(layout.uses):
        if room in layout.reachable(layout.uses[room]):
            yield f"internal/CMakeLists.txt: room {room} uses itself, through others"


def wrong_arrows(layout):
    """Arrows between rooms that a CMake line itself could turn round."""
    for room in sorted(layout.uses.keys() - layout.shared):
        reached = layout.reachable(layout.uses[room])
        if room in PURE and reached - PURE - {"proto"}:
            yield f"internal/CMakeLists.txt: pure room {room} uses {', '.join(sorted(reached - PURE - {'proto'}))}"
        if room in WITHOUT_IO and reached & {"net", "admin", "config"}:
            yield f"internal/CMakeLists.txt: room {room} uses {', '.join(sorted(reached & {'net', 'admin', 'config'}))}"
        if "node" in reached:
            yield f"internal/CMakeLists.txt: room {room} uses node, which only the broker may"


def check_file(path, where, allowed, is_net=False, without_io=False):
    for number, line in enumerate(without_comments(path.read_text(), "//").split("\n"), 1):
        at = f"{where}:{number}"
        if include := re.match(r'\s*#\s*include\s*([<"])([^>"]+)[>"]', line):
            quote, header = include.groups()
            if room := re.match(r"(?:internal|cmd)/(\w+)/", header):
                if room.group(1) not in allowed:
                    yield f"{at}: includes {header}, but may use only {', '.join(sorted(allowed))}"
            elif header.endswith(".pb.h") and header.startswith("logstream"):
                if "proto" not in allowed:
                    yield f"{at}: includes {header}, but does not use proto"
            elif header == "uv.h" or header.startswith("uv/"):
                if not is_net:
                    yield f"{at}: includes {header}, which only internal/net may"
            elif quote == '"':
                yield f"{at}: includes \"{header}\": write it from the project's root (or <…> for a library)"
            elif without_io and FORBIDDEN_HEADERS.match(header):
                yield f"{at}: includes <{header}>: this room does no I/O and has no threads"
        elif without_io and (word := FORBIDDEN_WORDS.search(line)):
            yield f"{at}: {word.group(0)}: time, chance and output come from outside this room"


def violations(root):
    layout = Layout(root)
    yield from cycles(layout)
    yield from wrong_arrows(layout)
    for folder in sorted(p for p in (root / "internal").iterdir() if p.is_dir()):
        room = folder.name
        if room not in layout.uses:
            yield f"internal/{room}: is no room of internal/CMakeLists.txt"
            continue
        allowed = layout.reachable({room})
        for path in sources(folder):
            yield from check_file(path, path.relative_to(root), allowed, room == "net", room in WITHOUT_IO)
    tools = layout.tools()
    for folder in sorted(p for p in (root / "cmd").iterdir() if p.is_dir() and sources(p)):
        name = folder.name
        if name not in tools and name not in layout.shared:
            yield f"cmd/{name}: is neither a tool nor a library of cmd/CMakeLists.txt"
            continue
        allowed = layout.reachable(tools.get(name, {name})) | {name}
        for path in sources(folder):
            yield from check_file(path, path.relative_to(root), allowed)
    main = root / "main.cpp"
    if main.exists():
        yield from check_file(main, "main.cpp", layout.reachable(layout.broker()))


class Includes(unittest.TestCase):
    def test_every_include_follows_the_arrows(self):
        found = list(violations(ROOT))
        self.assertEqual(found, [], "\n" + "\n".join(found))

    def test_every_room_is_known(self):
        layout = Layout(ROOT)
        self.assertLessEqual(WITHOUT_IO, set(layout.uses))
        self.assertIn("client", layout.reachable(layout.tools()["producer"]))
        self.assertIn("node", layout.broker())


class PlantedOffence(unittest.TestCase):
    """The test itself is tested: each kind of offence, planted in a copy of the tree, is found where it stands."""

    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.root = pathlib.Path(folder.name)
        for file in ("CMakeLists.txt", "internal/CMakeLists.txt", "cmd/CMakeLists.txt"):
            (self.root / file).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / file, self.root / file)

    def plant(self, file, text):
        path = self.root / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return list(violations(self.root))

    def assert_found(self, file, text, line=1):
        found = self.plant(file, text)
        self.assertEqual(len(found), 1, found)
        self.assertTrue(found[0].startswith(f"{file}:{line}: "), found[0])

    def test_a_clean_copy_has_none(self):
        self.assertEqual(self.plant("internal/view/x.h", '#include <vector>\n#include "internal/protocol/ids.h"\n'), [])

    def test_a_pure_room_that_includes_the_network(self):
        self.assert_found("internal/view/x.cpp", '#include <map>\n#include "internal/net/loop.h"\n', 2)

    def test_a_room_beside(self):
        self.assert_found("internal/failure/x.h", '#include "internal/election/lcr.h"')

    def test_libuv_outside_net(self):
        self.assert_found("internal/storage/x.cpp", "#include <uv.h>")
        self.assertEqual(self.plant("internal/storage/x.cpp", ""), [])
        self.assertEqual(self.plant("internal/net/x.cpp", "#include <uv.h>"), [])

    def test_a_clock(self):
        self.assert_found("internal/node/x.cpp", "\nauto t = std::chrono::steady_clock::now();", 2)

    def test_a_clock_in_a_comment_is_none(self):
        self.assertEqual(self.plant("internal/node/x.cpp", "// no steady_clock::now() here\n/* random_device */\n"), [])

    def test_chance(self):
        self.assert_found("internal/replication/x.cpp", "std::random_device seed;")

    def test_sockets_files_and_threads(self):
        for header in ("sys/socket.h", "netinet/in.h", "fstream", "thread", "mutex", "iostream"):
            with self.subTest(header):
                self.assert_found("internal/ring/x.h", f"#include <{header}>")

    def test_a_tool_that_includes_the_node(self):
        self.assert_found("cmd/producer/x.cpp", '#include "internal/node/settings.h"')

    def test_a_tool_that_includes_another(self):
        self.assert_found("cmd/producer/x.cpp", '#include "cmd/consumer/x.h"')

    def test_main_that_includes_what_it_does_not_link(self):
        self.assert_found("main.cpp", '#include "internal/client/router.h"')

    def test_an_include_from_the_same_folder(self):
        self.assert_found("internal/view/x.cpp", '#include "view.h"')

    def test_a_folder_that_is_no_room(self):
        self.assertEqual(self.plant("internal/util/x.h", ""), ["internal/util: is no room of internal/CMakeLists.txt"])

    def change_room(self, room, uses):
        path = self.root / "internal/CMakeLists.txt"
        changed, count = re.subn(rf"logstream_room\({room} [^)]*\)", f"logstream_room({room} USES {uses})",
                                 path.read_text())
        self.assertEqual(count, 1)
        path.write_text(changed)
        return list(violations(self.root))

    def test_a_pure_room_that_is_given_an_impure_one(self):
        self.assertIn("internal/CMakeLists.txt: pure room view uses storage", self.change_room("view", "protocol storage"))

    def test_a_circle_of_rooms(self):
        found = self.change_room("env", "protocol net")
        self.assertIn("internal/CMakeLists.txt: room env uses itself, through others", found)

    def test_a_node_that_is_given_the_network(self):
        self.assertIn("internal/CMakeLists.txt: room node uses net", self.change_room("node", "env net"))


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
