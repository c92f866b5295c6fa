#!/usr/bin/env bash
# Natter beside ejabberd and Prosody of Debian, and the floor below all: every workload on each in turn, several rounds,
# medians with their spread into docs/PERFORMANCE.md between its marks, plots into docs/plots/.
#
# Needs openssl and, on the first run, the network and a user who may install packages. A peer that is not there is left
# out with a loud line. All servers listen on loopback, keep their data in a folder of this run, and end with it.
#
#   ROUNDS=5        rounds; medians are taken over them
#   WORKLOADS="…"   names of lines in workloads.txt; all unless said
#   PEERS="…"       out of: floor natterd ejabberd prosody; all unless said
#   STATES="…"      out of: fresh aged; both unless said. Fresh: the process begins anew with each round
#   AGE=10000       accounts registered and logged in once to age a server
#   SCALE=1         share of every count and number of sessions, such as 0.1 for a short run
#   GROWTH=1        rounds of the growth series; 0 for none
#   MOST_SESSIONS=20000   where the series of sessions ends
#   RESULTS=…       folder for the lines of JSON and the logs; .bench-peers unless said
#   PAGE=…          page to print into; docs/PERFORMANCE.md unless said; - prints to stdout
#   NATTERD=, LOAD= programs built already; unless said they are built with the release profile
set -euo pipefail
cd "$(dirname "$0")/../.."

here="$PWD/tests/bench-peers"
rounds="${ROUNDS:-5}"
states="${STATES:-fresh aged}"
age="${AGE:-10000}"
scale="${SCALE:-1}"
growth_rounds="${GROWTH:-1}"
most_sessions="${MOST_SESSIONS:-20000}"
results="$(mkdir -p "${RESULTS:-.bench-peers}" && cd "${RESULTS:-.bench-peers}" && pwd)"
page="${PAGE:-docs/PERFORMANCE.md}"
scratch="$(mktemp -d)"
declare -A pids=()     # processes of ours, by peer
declare -A versions=() # what runs, by peer

say() { printf '%s\n' "bench-peers: $*" >&2; }
loudly() {
    say "**********************************************************************"
    say "$*"
    say "**********************************************************************"
}
usage() {
    say "$*"
    exit 2
}

# shellcheck source=tests/bench-peers/peers.sh
. "$here/peers.sh"

finish() {
    local peer
    for peer in "${!pids[@]}"; do stop "$peer"; done
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

# Whether somebody listens on port $1 of loopback.
listens() { (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

# Starts peer $1 out of the folder $scratch/$2, and waits until it listens.
start() {
    local peer="$1" folder="$scratch/$2" tries
    listens "${ports[$peer]}" && { say "port ${ports[$peer]} is taken, so $peer cannot start"; return 1; }
    mapfile -t command < <("command_$peer" "$folder")
    (cd "$folder" && exec "${command[@]}") >>"$results/$peer.log" 2>&1 </dev/null &
    pids[$peer]=$!
    for tries in $(seq 600); do
        listens "${ports[$peer]}" && return 0
        kill -0 "${pids[$peer]}" 2>/dev/null || break
        sleep 0.1
    done
    say "$peer did not start; the end of its log:"
    tail -n 20 "$results/$peer.log" >&2
    stop "$peer"
    return 1
}

# Ends peer $1, by force when it takes more than a minute.
stop() {
    local peer="$1" pid="${pids[$1]:-}" tries
    [ -n "$pid" ] || return 0
    unset "pids[$peer]"
    kill -TERM "$pid" 2>/dev/null || true
    for tries in $(seq 600); do
        kill -0 "$pid" 2>/dev/null || break
        sleep 0.1
    done
    kill -KILL "$pid" 2>/dev/null || true
    wait "$pid" 2>/dev/null || true
}

restart() {
    stop "$1"
    start "$1" "$1"
}

# $1 of something, scaled, at least $2.
scaled() { awk -v n="$1" -v s="$scale" -v least="$2" 'BEGIN { n = int(n * s); print (n < least ? least : n) }'; }

# Runs the generator on peer $1 in state $2, round $3, as $4; what follows are its own arguments.
measure() {
    local peer="$1" state="$2" round="$3" name="$4" said port="${ports[$1]}"
    shift 4
    local common=(--host 127.0.0.1 --timeout 120 --max-seconds 1700 --no-progress --json --out "$results/results.jsonl"
        --tag "server=$peer" --tag "state=$state" --tag "round=$round")
    case " $* " in
    *" --tls direct "*)
        port="${tls_ports[$peer]}"
        common+=(--ca "$scratch/authority.pem")
        ;;
    esac
    case "$peer" in floor) common+=(--mechanism plain) ;; esac
    [ -n "${pids[$peer]:-}" ] && common+=(--server-pid "${pids[$peer]}")
    say "$peer, $state, round $round: $name"
    if ! said="$(timeout --kill-after=10 1800 "$load" --port "$port" "${common[@]}" --prefix "$name" "$@" 2>&1 >/dev/null)"; then
        say "FAILED: $peer, $state, round $round, $name: $said"
        printf '%s, %s, round %s, %s: %s\n' "$peer" "$state" "$round" "$name" "${said//$'\n'/ }" >>"$results/failed.txt"
        [ -n "${pids[$peer]:-}" ] && ! kill -0 "${pids[$peer]}" 2>/dev/null && restart "$peer"
        return 0
    fi
}

# Workload $1 on every peer, in state $2, round $3.
workload() {
    local name="$1" state="$2" round="$3" peer line on kind arguments
    line="$(grep "^$name " "$here/workloads.txt")"
    read -r _ on kind arguments <<<"$line"
    # Counts are marked with @ and scaled: @1000 is a thousand, @1000/40 at least forty.
    while [[ "$arguments" =~ @([0-9]+)(/([0-9]+))? ]]; do
        arguments="${arguments/"${BASH_REMATCH[0]}"/$(scaled "${BASH_REMATCH[1]}" "${BASH_REMATCH[3]:-1}")}"
    done
    # What weighs memory needs a process that has freed none yet, so it is done in the fresh state alone.
    [ "$kind" = weigh ] && [ "$state" != fresh ] && return 0
    for peer in $peers; do
        [ "$peer" = floor ] && { [ "$on" = servers ] || [ "$state" != fresh ]; } && continue
        if [ "$name" = start ]; then
            [ "$state" = fresh ] || continue
            stop "$peer"
            mapfile -t command < <("command_$peer" "$scratch/$peer-empty")
            (cd "$scratch/$peer-empty" && measure "$peer" "$state" "$round" start start -- "${command[@]}")
            start "$peer" "$peer"
            continue
        fi
        [ "$kind" = weigh ] && restart "$peer"
        # shellcheck disable=SC2086 # the arguments are words
        measure "$peer" "$state" "$round" "$name" $arguments
    done
}

all="$(awk '!/^#/ && NF { print $1 }' "$here/workloads.txt")"
wanted="${WORKLOADS:-$all}"
for name in $wanted; do
    grep -q "^$name " "$here/workloads.txt" || usage "no workload is called $name; there are: ${all//$'\n'/ }"
done
for peer in ${PEERS:-}; do
    [ -n "${ports[$peer]:-}" ] || usage "no peer is called $peer; there are: floor natterd ejabberd prosody"
done
for state in $states; do
    case "$state" in fresh | aged) ;; *) usage "no state is called $state; there are: fresh aged" ;; esac
done

build
certify
peers=""
for peer in ${PEERS:-floor natterd ejabberd prosody}; do
    if "need_$peer"; then
        peers="$peers $peer"
        mkdir -p "$scratch/$peer" "$scratch/$peer-empty"
        "prepare_$peer" "$scratch/$peer" localhost
        "prepare_$peer" "$scratch/$peer-empty" localhost
        versions[$peer]="$("version_$peer")"
        : >"$results/$peer.log"
    else
        loudly "LEFT OUT: $peer is not installed and cannot be installed here"
    fi
done
: >"$results/results.jsonl"
: >"$results/failed.txt"

# What has to be made once, such as a database, is not part of any start.
for peer in $peers; do
    start "$peer" "$peer-empty"
    stop "$peer"
    start "$peer" "$peer"
done
for state in $states; do
    if [ "$state" = aged ]; then
        for peer in $peers; do
            [ "$peer" = floor ] || measure "$peer" aging 0 aging age --count "$age"
        done
    fi
    for round in $(seq "$rounds"); do
        if [ "$state" = fresh ]; then
            for peer in $peers; do restart "$peer"; done
        fi
        for name in $wanted; do workload "$name" "$state" "$round"; done
    done
done
for peer in $peers; do stop "$peer"; done

# Growth: each server alone, with fifty hosts.
hosts="$(seq -f 'h%.0f.localhost' -s ' ' 49)"
for peer in $peers; do
    [ "$growth_rounds" -gt 0 ] && [ "$peer" != floor ] || continue
    mkdir -p "$scratch/$peer-hosts"
    # shellcheck disable=SC2086 # the hosts are words
    "prepare_$peer" "$scratch/$peer-hosts" localhost $hosts
    start "$peer" "$peer-hosts" || continue
    for round in $(seq "$growth_rounds"); do
        for axis in sessions hosts roster resources stanza; do
            measure "$peer" growth "$round" growth --domain "localhost,${hosts// /,}" growth --axis "$axis" \
                --count "$(scaled 50000 500)" --most-sessions "$most_sessions"
        done
    done
    stop "$peer"
done

settings >"$results/head.md"
options=()
[ "$page" = - ] || options=(--into "$page" --plots docs/plots)
"$load" report "$results" --targets "$here/targets.json" "${options[@]}"
if [ -s "$results/failed.txt" ]; then
    say "$(wc -l <"$results/failed.txt") runs failed: $results/failed.txt"
    exit 1
fi
