# Sourced by the scripts of deploy/: starts broker processes in the background, ends them, and waits until they have one
# view. Each broker has a folder, with its pid file, the log of its standard error and its data.
# shellcheck shell=bash

# What is set for one broker in the caller's environment must not reach all of them.
unset NODE_ADDRESS MULTICAST_GROUP BROADCAST_PORT NODE_INTERFACE SEEDS DATA_DIR NODE_NAME CLUSTER_NAME HTTP_ADDRESS

die() {
    echo "${0##*/}: $1" >&2
    exit "${2:-1}"
}

# The value of the flag that the arguments begin with; an empty one is that of a variable that was not set.
flag_value() {
    (($# > 1)) && [[ -n $2 ]] || die "$1 expects a value" 2
    printf '%s' "$2"
}

is_count() { [[ $1 =~ ^[1-9][0-9]{0,4}$ ]]; }

# When a process was started, in clock ticks: with its pid this names it for ever, a pid alone may be given again.
start_time() {
    local stat
    stat=$(cat "/proc/$1/stat" 2>/dev/null) || return 1
    # The command's name is in brackets and may hold anything; the fields after it are counted from the last bracket.
    read -ra stat <<<"${stat##*) }"
    [[ ${stat[0]} != Z ]] && echo "${stat[19]}"
}

# The pid of the broker of a folder, if that very process still runs.
broker_pid() {
    local pid started
    [[ -e $1/pid ]] || return 1
    read -r pid started <"$1/pid" || return 1
    [[ $(start_time "$pid") == "$started" ]] && echo "$pid"
}

# Whether the program of a running broker has been built anew since.
broker_is_outdated() {
    local pid
    pid=$(broker_pid "$1") && [[ $(readlink "/proc/$pid/exe") == *' (deleted)' ]]
}

# broker_start FOLDER COMMAND…
broker_start() {
    local folder=$1
    shift
    mkdir -p "$folder"
    setsid "$@" >>"$folder/broker.log" 2>&1 </dev/null &
    local pid=$!
    echo "$pid $(start_time "$pid" || echo gone)" >"$folder/pid"
    disown "$pid" 2>/dev/null || true
}

# signal_brokers SIGNAL SECONDS FOLDER…: sends it to all, and waits until they have ended or that time is over.
signal_brokers() {
    local signal=$1 deadline=$((SECONDS + $2)) folder pid
    shift 2
    for folder in "$@"; do
        if pid=$(broker_pid "$folder"); then kill "-$signal" "$pid" 2>/dev/null || true; fi
    done
    for folder in "$@"; do
        while broker_pid "$folder" >/dev/null; do
            ((SECONDS < deadline)) || return 1
            sleep 0.05
        done
        rm -f "$folder/pid"
    done
}

# broker_stop SECONDS FOLDER…: asks all to leave in order, and kills those that have not after so long.
broker_stop() {
    signal_brokers TERM "$@" && return
    shift
    echo "${0##*/}: not all brokers stopped in time; killing the rest" >&2
    signal_brokers KILL 10 "$@" || echo "${0##*/}: some brokers cannot be killed" >&2
    return 1
}

# The list that a line of JSON begins with, without what follows it.
members_text() {
    awk '{
        depth = 0
        for (i = 1; i <= length($0); ++i) {
            c = substr($0, i, 1)
            if (quoted) { if (c == "\\") ++i; else if (c == "\"") quoted = 0 }
            else if (c == "\"") quoted = 1
            else if (c == "[") ++depth
            else if (c == "]" && --depth == 0) break
        }
        print substr($0, 1, i)
    }'
}

# What one broker says of its view: "VIEW LEADER MEMBERS", learners not counted; fails without quorum or answer.
# Usage: view_of ADDRESS COMMAND…, where COMMAND is logstreamctl and what it takes to run it.
view_of() {
    local address=$1 json members
    shift
    json=$(timeout 5 "$@" status --json --brokers "$address" 2>/dev/null | tr -d ' \n\t') || return 1
    [[ $json == *'"quorum":true'* && $json =~ \"view\":([0-9]+) ]] || return 1
    local view=${BASH_REMATCH[1]}
    [[ $json =~ \"leader\":\"([0-9a-f]+)\" ]] || return 1
    local leader=${BASH_REMATCH[1]}
    members=$(members_text <<<"${json#*\"members\":}" | grep -oE '"role":"(leader|follower)"' | wc -l)
    echo "$view $leader $members"
}

# wait_for_one_view SECONDS MEMBERS FOLDERS ADDRESSES COMMAND…: until all brokers tell of the same view of so many
# members. FOLDERS and ADDRESSES are names of arrays. Prints nothing; on failure says who says what.
wait_for_one_view() {
    local deadline=$((SECONDS + $1)) members=$2
    local -n all_folders=$3 all_addresses=$4
    shift 4
    local index said agreed problem
    while true; do
        agreed='' problem=''
        for index in "${!all_folders[@]}"; do
            if ! broker_pid "${all_folders[index]}" >/dev/null; then
                tail -n 5 "${all_folders[index]}/broker.log" >&2 || true
                echo "${0##*/}: the broker ${all_addresses[index]} has ended; its log is ${all_folders[index]}/broker.log" >&2
                return 1
            fi
            said=$(view_of "${all_addresses[index]}" "$@") || said='no view'
            agreed=${agreed:-$said}
            if [[ $said != "$agreed" || $said != *" $members" ]]; then
                problem="${all_addresses[index]} says: $said"
                break
            fi
        done
        [[ -z $problem ]] && return 0
        if ((SECONDS >= deadline)); then
            echo "${0##*/}: the $members brokers did not form one view in time; $problem (view, leader, members)" >&2
            echo "${0##*/}: look for ClusterState in ${all_folders[0]%/*}/*/broker.log" >&2
            return 1
        fi
        sleep 0.1
    done
}
