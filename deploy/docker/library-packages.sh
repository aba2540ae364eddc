#!/usr/bin/env bash
# Prints the Debian packages whose shared libraries the given programs need, one a line.
set -euo pipefail

(($# > 0)) || { echo "Usage: deploy/docker/library-packages.sh PROGRAM…" >&2; exit 2; }

libraries=$(ldd "$@" | sed -nE 's/.* => (\/[^ ]+) .*/\1/p' | sort -u)
# The linker finds them by /lib, where dpkg may know them by /usr/lib.
for library in $libraries; do
    dpkg-query --search "$library" 2>/dev/null || dpkg-query --search "/usr$library" 2>/dev/null ||
        dpkg-query --search "$(realpath "$library")" || { echo "library-packages.sh: no package has $library" >&2; exit 1; }
done | sed 's/:.*//' | sort -u
