"""The image that the tests' containers run: what deploy/docker/Dockerfile makes of these sources, now."""

import os
import subprocess
import tempfile

from process import run

IMAGE = "logstream"
PROGRAMS = "/usr/local/bin"
BASES = {"BUILD_BASE": "logstream-build-base", "RUNTIME_BASE": "logstream-runtime-base"}
BUILD_SECONDS = 3600


def make_image(daemon, options):
    """Makes its bases by debootstrap, so that no registry is asked, and then the image."""
    script = os.path.join(options.project, "deploy", "docker", "base-images.sh")
    print("docker: making the image's bases", flush=True)
    run([script, "--programs", options.programs], seconds=BUILD_SECONDS, environment=daemon.environment)
    _give_compiled_objects(daemon)
    print("docker: building the image", flush=True)
    words = [word for name, base in BASES.items() for word in ("--build-arg", f"{name}={base}")]
    file = os.path.join(options.project, "deploy", "docker", "Dockerfile")
    daemon.docker("build", "--tag", IMAGE, "--file", file, *words, options.project, seconds=BUILD_SECONDS)


def _give_compiled_objects(daemon):
    """What ccache has on this machine need not be compiled again; it is found by content, so nothing else changes."""
    found = subprocess.run(["ccache", "--get-config", "cache_dir"], capture_output=True, text=True, check=False)
    cache = found.stdout.strip()
    if not os.path.isdir(cache):
        return
    base = BASES["BUILD_BASE"]
    container = daemon.docker("create", base, "true").strip()
    with tempfile.TemporaryFile() as packed:
        place = ["--transform", "s,^\\.,root/.cache/ccache,"]
        subprocess.run(["tar", "--directory", cache, *place, "--create", "."], stdout=packed, check=True)
        packed.seek(0)
        words = ["docker", "cp", "-", f"{container}:/"]
        subprocess.run(words, stdin=packed, env=daemon.environment, check=True)
    # To ccache another language is another compiler.
    known = {name: os.environ[name] for name in ("LANG", "LC_ALL", "LC_CTYPE", "LC_MESSAGES") if name in os.environ}
    changes = [f"--change=ENV {name}={value}" for name, value in known.items()]
    daemon.docker("commit", *changes, container, base, seconds=BUILD_SECONDS)
    daemon.docker("rm", container)
