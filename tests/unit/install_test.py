#!/usr/bin/env python3
"""What `cmake --install` lays down: every file in its place, man pages that render, completions that complete.

The build folder is the argument. What the shells offer is held against what --help says, which both are made from.
"""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import unittest
import unittest.mock

BUILD = pathlib.Path(sys.argv.pop(1)).resolve()
TARGETS = {"logstream": "logstream", "logstreamctl": "logstreamctl", "netdiag": "netdiag",
           "logstream-bench": "logstream-bench", "logstream-producer": "producer", "logstream-consumer": "consumer"}
SERVICE = {
    "etc/logstream/logstream.yaml", "usr/lib/systemd/system/logstream.service", "usr/lib/sysusers.d/logstream.conf",
    "usr/lib/sysctl.d/10-logstream.conf", "usr/share/man/man5/logstream.yaml.5.gz",
    "usr/lib/logstream/bin/producer", "usr/lib/logstream/bin/consumer",
    "usr/share/doc/logstream/copyright", "usr/share/doc/logstream/changelog.gz"}
PAGES = [f"usr/share/man/man1/{name}.1.gz" for name in TARGETS]
OF_PROGRAMS = {path.format(name) for name in TARGETS for path in (
    "usr/bin/{}", "usr/share/man/man1/{}.1.gz", "usr/share/bash-completion/completions/{}",
    "usr/share/zsh/vendor-completions/_{}", "usr/share/fish/vendor_completions.d/{}.fish")}


INSTALLED = pathlib.Path(tempfile.mkdtemp(prefix="logstream-install-"))  # the programs; tests only read it


def setUpModule():
    unittest.addModuleCleanup(shutil.rmtree, INSTALLED)
    install("broker", INSTALLED)


def install(component, destination, prefix="/usr"):
    subprocess.run(["cmake", "--install", BUILD, "--component", component, "--prefix", prefix], check=True,
                   env=os.environ | {"DESTDIR": str(destination)}, stdout=subprocess.DEVNULL)


def files_below(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir()}


def helped_flags(program, *command):
    text = subprocess.run([BUILD / "bin" / program, *command, "--help"], check=True, capture_output=True, text=True)
    return set(re.findall(r"^  (?:-\w,)?(--[\w-]+)", text.stdout, re.M))


class Installed(unittest.TestCase):
    def read(self, path):
        return (INSTALLED / path).read_text()

    def test_every_file_is_in_its_place(self):
        self.assertEqual(files_below(INSTALLED), OF_PROGRAMS | SERVICE)

    def test_the_short_names_lead_to_the_programs(self):
        for name in ("producer", "consumer"):
            link = INSTALLED / "usr/lib/logstream/bin" / name
            self.assertEqual(link.resolve(), (INSTALLED / "usr/bin" / f"logstream-{name}").resolve())

    def test_the_service_names_what_is_installed(self):
        self.assertIn("\nExecStart=/usr/bin/logstream --config /etc/logstream/logstream.yaml\n",
                      self.read("usr/lib/systemd/system/logstream.service"))

    def test_the_configuration_is_the_documented_one_but_for_the_data_folder(self):
        documented = pathlib.Path(__file__).parents[2] / "deploy/logstream.yaml"
        added = set(self.read("etc/logstream/logstream.yaml").splitlines()) - set(documented.read_text().splitlines())
        self.assertEqual([line for line in added if not line.lstrip().startswith("#")], ["  dir: /var/lib/logstream"])

    def test_man_pages_render_without_a_warning(self):
        for page in [*PAGES, "usr/share/man/man5/logstream.yaml.5.gz"]:
            with self.subTest(page):
                shown = subprocess.run(["man", "--warnings", "-l", INSTALLED / page], capture_output=True, text=True,
                                       env=os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "80"}, check=True)
                self.assertEqual(shown.stderr, "")
                self.assertIn("SEE ALSO", shown.stdout)

    def test_man_pages_have_every_flag(self):
        for name, target in TARGETS.items():
            shown = subprocess.run(["man", "-l", INSTALLED / f"usr/share/man/man1/{name}.1.gz"], check=True, text=True,
                                   capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8", "MANWIDTH": "500"}).stdout
            for flag in helped_flags(target):
                self.assertRegex(shown, rf"(?m)^ +(?:-\w, )?{flag}\b", name)


class AnotherPlace(unittest.TestCase):
    def setUp(self):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = pathlib.Path(folder.name)

    def test_the_prefix_is_known_where_it_is_named(self):
        install("broker", self.folder, "/opt/logstream")
        service = (self.folder / "opt/logstream/lib/systemd/system/logstream.service").read_text()
        self.assertIn("ExecStart=/opt/logstream/bin/logstream --config /opt/logstream/etc/logstream/logstream.yaml\n",
                      service)

    def test_an_edited_configuration_stays(self):
        install("broker", self.folder)
        configuration = self.folder / "etc/logstream/logstream.yaml"
        configuration.write_text("cluster: {expect: 3}\n")
        install("broker", self.folder)
        self.assertEqual(configuration.read_text(), "cluster: {expect: 3}\n")

    def test_the_client_library_is_there(self):
        install("client", self.folder)
        found = files_below(self.folder)
        for end in ("liblogstream_client.a", "liblogstream_net.a", "cmake/logstream/logstream-config.cmake",
                    "include/logstream/internal/client/producer.h", "include/logstream/logstream.pb.h"):
            self.assertTrue(any(path.endswith(end) for path in found), end)
        self.assertFalse([path for path in found if path.endswith(".cpp")])


class Completion(unittest.TestCase):
    def offered(self, *words):
        """What bash offers for the last of the words."""
        script = ('source "$1"; shift; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); '
                  'read -r _ _ function _ < <(complete -p "$1"); "$function"; printf "%s\\n" "${COMPREPLY[@]}"')
        path = INSTALLED / "usr/share/bash-completion/completions" / words[0]
        done = subprocess.run(["bash", "--norc", "-c", script, "bash", path, *words], capture_output=True, text=True,
                              check=True, cwd=INSTALLED)
        self.assertEqual(done.stderr, "")
        return set(done.stdout.split())

    def test_every_flag_of_every_program(self):
        for name, target in TARGETS.items():
            self.assertLessEqual(helped_flags(target), self.offered(name, "--"), name)

    def test_the_short_names_too(self):
        done = subprocess.run(["bash", "-c", "source usr/share/bash-completion/completions/logstream-consumer; "
                               "complete -p consumer"], cwd=INSTALLED, capture_output=True, text=True)
        self.assertEqual(done.returncode, 0, done.stderr)

    def test_subcommands_and_their_flags(self):
        self.assertLessEqual({"status", "verify", "topics", "--json"}, self.offered("logstreamctl", ""))
        self.assertEqual(self.offered("logstreamctl", "topics", "cr"), {"create"})
        self.assertEqual(self.offered("logstreamctl", "topics", "create", "app", "--part"), {"--partitions"})
        self.assertIn("--brokers", self.offered("logstreamctl", "topics", "create", "app", "--"))

    def test_a_value_is_no_subcommand(self):
        self.assertIn("create", self.offered("logstreamctl", "--cluster", "status", "topics", ""))
        self.assertIn("create", self.offered("logstreamctl", "--cluster", "=", "status", "topics", ""))

    def test_values_that_are_chosen(self):
        self.assertEqual(self.offered("logstream-producer", "--acks", "q"), {"quorum"})
        self.assertEqual(self.offered("logstream-producer", "--acks", "=", "q"), {"quorum"})
        self.assertEqual(self.offered("logstream-producer", "--compression", "="),
                         {"none", "lz4", "zstd", "snappy", "gzip", "auto"})
        self.assertEqual(self.offered("logstream", "--log-level", "w"), {"warn"})
        self.assertEqual(self.offered("logstream", "--set", "storage.fs"), {"storage.fsync=", "storage.fsync_interval="})

    def test_names_from_the_cluster_are_only_names(self):
        """Anybody may choose them: none of them is a command, and what a shell would read otherwise is quoted."""
        with tempfile.TemporaryDirectory() as folder:
            program = pathlib.Path(folder) / "logstreamctl"
            program.write_text("#!/bin/sh\necho \"$@\" >> " + folder + "/asked\n"
                               "printf '%s\\n' '$(touch hit)' '`touch hit`' app 'a b'\n")
            program.chmod(0o755)
            with unittest.mock.patch.dict(os.environ, {"PATH": folder + ":" + os.environ["PATH"]}):
                for words in (("logstreamctl", "topics", "delete", ""), ("logstream-consumer", "--group", "")):
                    self.assertLessEqual({"app", "\\$\\(touch\\"}, self.offered(*words))
                self.assertEqual(self.offered("logstreamctl", "--context", "prod", "ring", "ap"), {"app"})
            self.assertFalse((INSTALLED / "hit").exists())
            asked = (pathlib.Path(folder) / "asked").read_text().splitlines()
            self.assertEqual(asked, ["complete topics", "complete groups", "complete topics --context prod"])

    def test_files_and_folders_and_values_that_are_neither(self):
        self.assertEqual(self.offered("logstream", "--config", "et"), {"etc"})
        self.assertEqual(self.offered("logstream", "--data", "us"), {"usr"})
        self.assertEqual(self.offered("logstream-producer", "--topic", ""), set())


if __name__ == "__main__":
    sys.exit(unittest.main(verbosity=1))
