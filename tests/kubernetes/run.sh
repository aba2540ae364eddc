#!/usr/bin/env bash
# Holds deploy/kubernetes against the schemas of Kubernetes itself: names, types, required fields, nothing unknown.
# kubernetes-validate brings the schemas along, so no cluster and no network is needed once it is installed.
set -euo pipefail

root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
versions=(1.29 1.33 1.37)
tool=$root/build/kubernetes-validate
wanted=1.37.0

if [[ $("$tool/bin/pip" show kubernetes-validate 2>/dev/null | sed -n 's/^Version: //p') != "$wanted" ]]; then
    echo "Installing kubernetes-validate $wanted into build/" >&2
    python3 -m venv --clear "$tool"
    "$tool/bin/pip" install --quiet "kubernetes-validate==$wanted"
fi

passed=0
failed=0
count() { if "$1"; then passed=$((passed + 1)); else failed=$((failed + 1)); fi; }

# valid FILE VERSION: whether that version of Kubernetes would take it; prints what is wrong.
valid() { "$tool/bin/kubernetes-validate" --quiet --strict --kubernetes-version "$2" "$1" 2>&1; }

for file in "$root"/deploy/kubernetes/*.yaml; do
    for version in "${versions[@]}"; do
        if found=$(valid "$file" "$version"); then
            echo "PASS ${file##*/}, Kubernetes $version"
            count true
        else
            echo "FAIL ${file##*/}, Kubernetes $version: $found"
            count false
        fi
    done
done

# The check itself: each of these must be refused.
broken=$(mktemp)
trap 'rm -f "$broken"' EXIT
for change in 's/serviceName:/serviceNames:/' 's/maxUnavailable: 1/maxUnavailable: [1]/' 's/^  replicas: 3/  replicas: three/' \
    '/^  serviceName:/,/^  template:/{/^  selector:/,/matchLabels/d}'; do
    sed "$change" "$root/deploy/kubernetes/logstream.yaml" >"$broken"
    if cmp -s "$broken" "$root/deploy/kubernetes/logstream.yaml" || valid "$broken" "${versions[0]}" >/dev/null; then
        echo "FAIL the check takes what '$change' breaks"
        count false
    else
        echo "PASS refused as it has to be: $change"
        count true
    fi
done
echo "$passed passed, $failed failed"
((failed == 0))
