"""What runs that were killed left behind: they could not clean up after themselves."""

import os
import re
import subprocess

from process import run


def remove_leftovers():
    """Removes the network namespaces of such runs; their processes died with them."""
    for line in run(["ip", "netns", "list"]).splitlines():
        found = re.match(r"ls(\d+)x\d+-", line)
        if found and not os.path.exists(f"/proc/{found[1]}"):
            subprocess.run(["ip", "netns", "delete", line.split()[0]], capture_output=True, check=False)
