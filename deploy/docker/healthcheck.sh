#!/bin/sh
# Whether the broker of this container is part of a view that has a quorum: exit code 0 if so, else 1 and why.
port=${NODE_ADDRESS:-8001}
port=${port##*:}
status=$(timeout 3 logstreamctl status --json --brokers "$(hostname):$port" 2>&1)
case $(printf '%s' "$status" | tr -d ' \n') in
    *'"quorum":true'*) exit 0 ;;
    *'"quorum":false'*) printf '%s\n' "$status" | sed -n 's/^ *"reason": "\(.*\)",\{0,1\}$/no quorum: \1/p' ;;
    *) printf '%s\n' "$status" ;;
esac
exit 1
