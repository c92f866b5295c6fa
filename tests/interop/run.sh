#!/usr/bin/env bash
# Other people's clients against natterd, certificates verified, judged by what the clients print.
#
# Needs openssl and the network on the first run. What Debian packages it installs where it may; all else it keeps in
# .interop/. A client that cannot be installed is skipped with a loud line; one that is installed and fails, fails the
# run. Each client is a file beside this one, which says what it needs and what it looks at.
#
# INTEROP_PROFILE names another cargo profile than release. INTEROP_ONLY, words out of the list below, runs only
# those. Another server can take natterd's place: INTEROP_HOST, INTEROP_ADDRESS, INTEROP_PORT, INTEROP_DIRECT_PORT,
# INTEROP_HTTPS_PORT where it has WebSocket and BOSH, INTEROP_CA, and INTEROP_REGISTER, a command that is called with USER HOST PASSWORD.
set -euo pipefail
cd "$(dirname "$0")/../.."

all="testssl slixmpp go-sendxmpp profanity smack tsung node webchat rooms autobahn wrk debian moving"
parts="${INTEROP_ONLY:-$all}"
for part in $parts; do
    case " $all " in
    *" $part "*) ;;
    *)
        echo "interop: nothing is called $part; there are: $all" >&2
        exit 2
        ;;
    esac
done

kept="$PWD/.interop"
here="$PWD/tests/interop"
scratch="$(mktemp -d)"
server=""
declare -A started=() # what runs beside this script, by process
at_end=() # functions that end what a client started by other ways
later=()  # functions that judge what was begun, when all else has run
failures=0
ran=0
skipped=0

finish() {
    local step
    for step in "${at_end[@]}"; do "$step" || true; done
    for step in "${!started[@]}"; do end "$step"; done
    if [ -n "$server" ]; then end "$server"; fi
    rm -rf "$scratch"
}
trap finish EXIT
trap 'exit 143' TERM
trap 'exit 130' INT

say() { printf '%s\n' "interop: $*"; }
pass() {
    ran=$((ran + 1))
    say "passed: $1"
}
fail() {
    ran=$((ran + 1))
    failures=$((failures + 1))
    say "FAILED: $1"
    if [ -f "${2:-}" ]; then sed 's/^/    /' "$2"; fi
    { say "failed: $1"; if [ -f "${2:-}" ]; then tail -n 5 "$2" | cut -c 1-200 | sed 's/^/    /'; fi; } >>"$scratch/failed"
    if [ -s "$scratch/natterd.log" ]; then
        say "the end of natterd's log:"
        tail -n 30 "$scratch/natterd.log" | sed 's/^/    /'
    fi
}
skip() {
    skipped=$((skipped + 1))
    say "**********************************************************************"
    say "SKIPPED: $1"
    say "**********************************************************************"
}

# Waits until a process of ours has ended, and returns what it returned.
ended() {
    local status=0
    wait "$1" || status=$?
    unset "started[$1]"
    return "$status"
}
# Ends a process of ours.
end() {
    kill -TERM "$1" 2>/dev/null || true
    ended "$1" 2>/dev/null || true
}
# Runs a command beside this script, for $1 seconds at most; its process is then in $begun.
begin() {
    timeout --kill-after=10 "$@" <&0 &
    begun=$!
    started["$begun"]=1
}
# Runs a command to its end, for $1 seconds at most; it does not outlive this script.
bounded() {
    begin "$@"
    ended "$begun"
}
# Makes sure of a command: $1, out of the Debian packages that follow.
need() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing ${*:2}"
    DEBIAN_FRONTEND=noninteractive bounded 300 \
        apt-get install --yes --quiet --quiet --no-install-recommends "${@:2}" >"$scratch/apt" 2>&1 || true
    command -v "$1" >/dev/null
}

# An authority called $1, and certificates it signs for the names that follow.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 100 -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$scratch/$1.key" -out "$scratch/$1.pem" 2>/dev/null
}
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
        -keyout "$scratch/$2.key" -out "$scratch/$2.csr" 2>/dev/null
    cat >"$scratch/$2.ext" <<EXT
subjectAltName = DNS:$2, DNS:*.$2
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth
EXT
    openssl x509 -req -in "$scratch/$2.csr" -CA "$scratch/$1.pem" -CAkey "$scratch/$1.key" -CAcreateserial \
        -days 100 -extfile "$scratch/$2.ext" -out "$scratch/$2.crt" 2>/dev/null
}

export ALICE_PASSWORD="alice's secret" BOB_PASSWORD="bob's secret" CAROL_PASSWORD="carols-secret"
authority wrong

if [ -n "${INTEROP_HOST:-}" ]; then
    host="$INTEROP_HOST" address="$INTEROP_ADDRESS" port="$INTEROP_PORT" direct="$INTEROP_DIRECT_PORT"
    ca="$INTEROP_CA" https="${INTEROP_HTTPS_PORT:-}"
    natterctl() { return 1; }
    register() { $INTEROP_REGISTER "$@"; }
else
    host=localhost address=127.0.0.1
    authority right
    certificate right "$host"
    mkdir "$scratch/certs"
    cat "$scratch/$host.crt" "$scratch/$host.key" >"$scratch/certs/$host.pem"
    ca="$scratch/right.pem"
    cat >"$scratch/natter.toml" <<TOML
hosts = ["$host"]
data_dir = "data"

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "required"

[[listener]]
kind = "c2s"
address = "127.0.0.1:0"
tls = "direct"

[[listener]]
kind = "http"
address = "127.0.0.1:0"
tls = "direct"

[[listener]]
kind = "http"
address = "127.0.0.1:0"
tls = "off"

[tls]
certificates = ["certs/*.pem"]

[modules.mod_register]
enabled = true
TOML
    profile="${INTEROP_PROFILE:-release}"
    cargo build --profile "$profile" --package supervisors
    target="${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}"
    natterctl() { "$target/natterctl" --config "$scratch/natter.toml" "$@"; }
    register() { natterctl register "$1" "$2" --password-stdin <<<"$3"; }
    mkfifo "$scratch/ready"
    "$target/natterd" --config "$scratch/natter.toml" >"$scratch/ready" 2>"$scratch/natterd.log" &
    server=$!
    # The line comes when every door is open; a server that dies first closes the pipe.
    exec 3<"$scratch/ready"
    line=""
    while IFS= read -r -t 60 line <&3; do
        case "$line" in "natterd ready"*) break ;; esac
    done
    case "$line" in
    "natterd ready"*) ;;
    *)
        fail "natterd did not become ready" "$scratch/natterd.log"
        exit 1
        ;;
    esac
    # Nobody reads the pipe any more; keep it open so that natterd's writes do not fail.
    ports="$(grep -oE '127\.0\.0\.1:[0-9]+' <<<"$line" | cut -d: -f2)"
    port="$(sed -n 1p <<<"$ports")"
    direct="$(sed -n 2p <<<"$ports")"
    https="$(sed -n 3p <<<"$ports")"
    http="$(sed -n 4p <<<"$ports")"
fi
register alice "$host" "$ALICE_PASSWORD"
register bob "$host" "$BOB_PASSWORD"
register carol "$host" "$CAROL_PASSWORD"

# slixmpp is who other clients talk to; it is there even where only they run.
. "$here/slixmpp.sh"
for part in $parts; do
    began=$SECONDS
    if [ "$part" = slixmpp ]; then slixmpp; else . "$here/$part.sh"; fi
    say "$part took $((SECONDS - began)) s"
done
for judge in "${later[@]}"; do "$judge"; done

if [ -n "$server" ]; then
    kill -TERM "$server"
    if wait "$server"; then pass "natterd ends cleanly"; else fail "natterd did not end cleanly" "$scratch/natterd.log"; fi
    server=""
fi
# Once more what failed: of a long log often only the end is seen.
if [ -f "$scratch/failed" ]; then cat "$scratch/failed"; fi
say "$ran checks ran, $failures failed, $skipped skipped"
[ "$failures" = 0 ] && [ "$ran" -gt 0 ]
