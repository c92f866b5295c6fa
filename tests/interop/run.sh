#!/usr/bin/env bash
# Other people's clients against natterd, certificates verified, judged by what the clients print.
#
# Needs openssl, python3 with venv, and the network on the first run; keeps what it installs in .interop/.
# A client that cannot be installed is skipped with a loud line; one that is installed and fails, fails the run.
#
# INTEROP_PROFILE names another cargo profile than release. Another server can take natterd's place: INTEROP_HOST,
# INTEROP_ADDRESS, INTEROP_PORT, INTEROP_DIRECT_PORT, INTEROP_CA, and INTEROP_REGISTER, a command that is called with
# USER HOST PASSWORD.
set -euo pipefail
cd "$(dirname "$0")/../.."

kept="$PWD/.interop"
scratch="$(mktemp -d)"
server=""
listener=""
failures=0
ran=0
skipped=0

finish() {
    if [ -n "$listener" ]; then kill "$listener" 2>/dev/null || true; fi
    if [ -n "$server" ]; then
        kill -TERM "$server" 2>/dev/null || true
        wait "$server" 2>/dev/null || true
    fi
    rm -rf "$scratch"
}
trap finish EXIT

say() { printf '%s\n' "interop: $*"; }
pass() { ran=$((ran + 1)); say "passed: $1"; }
fail() {
    ran=$((ran + 1))
    failures=$((failures + 1))
    say "FAILED: $1"
    if [ -f "${2:-}" ]; then sed 's/^/    /' "$2"; fi
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

# An authority called $1, and certificates it signs for the names that follow.
authority() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj "/CN=$1" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$scratch/$1.key" -out "$scratch/$1.pem" 2>/dev/null
}
certificate() {
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=$2" \
        -keyout "$scratch/$2.key" -out "$scratch/$2.csr" 2>/dev/null
    printf 'subjectAltName=DNS:%s,DNS:*.%s\n' "$2" "$2" >"$scratch/$2.ext"
    openssl x509 -req -in "$scratch/$2.csr" -CA "$scratch/$1.pem" -CAkey "$scratch/$1.key" -CAcreateserial \
        -days 2 -extfile "$scratch/$2.ext" -out "$scratch/$2.crt" 2>/dev/null
}

export ALICE_PASSWORD="alice's secret" BOB_PASSWORD="bob's secret" CAROL_PASSWORD="carols-secret"
authority wrong

if [ -n "${INTEROP_HOST:-}" ]; then
    host="$INTEROP_HOST" address="$INTEROP_ADDRESS" port="$INTEROP_PORT" direct="$INTEROP_DIRECT_PORT"
    ca="$INTEROP_CA"
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

[tls]
certificates = ["certs/*.pem"]
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
fi
register alice "$host" "$ALICE_PASSWORD"
register bob "$host" "$BOB_PASSWORD"
register carol "$host" "$CAROL_PASSWORD"

# slixmpp: everything two people do.
python="$kept/venv/bin/python"
have_slixmpp() { "$python" -c 'import slixmpp' 2>/dev/null; }
if ! have_slixmpp; then
    mkdir -p "$kept"
    python3 -m venv "$kept/venv" && "$kept/venv/bin/pip" --quiet --disable-pip-version-check install 'slixmpp>=1.10' || true
fi
chat() { timeout 180 "$python" tests/interop/chat.py "$host" "$address" "$@"; }

if have_slixmpp; then
    say "slixmpp $("$python" -c 'import slixmpp; print(slixmpp.__version__)')"
    echo_option=()
    if [ -n "$server" ]; then
        natterctl module_start "$host" mod_echo
        echo_option=(--echo "echo.$host")
    fi
    if chat "$port" "$ca" "${echo_option[@]}" >"$scratch/chat" 2>&1 && [ "$(tail -n 1 "$scratch/chat")" = done ]; then
        expected=15
        if [ -n "$server" ]; then expected=16; fi
        seen="$(grep -c '^ok: ' "$scratch/chat")"
        if [ "$seen" = "$expected" ]; then
            sed 's/^/    /' "$scratch/chat"
            pass "slixmpp over STARTTLS"
        else
            fail "slixmpp over STARTTLS: $expected things to see, $seen seen" "$scratch/chat"
        fi
    else
        fail "slixmpp over STARTTLS" "$scratch/chat"
    fi

    for door in "starttls $port" "direct $direct"; do
        read -r kind at <<<"$door"
        option=()
        if [ "$kind" = direct ]; then option=(--direct); fi
        # A wrong authority must be refused, and for that reason.
        if chat "$at" "$scratch/wrong.pem" "${option[@]}" >"$scratch/refused" 2>&1; then
            fail "slixmpp accepted a wrong authority ($kind)" "$scratch/refused"
        elif grep -qE 'certificate|CERTIFICATE|ssl_invalid_chain' "$scratch/refused" && ! grep -q '^ok: ' "$scratch/refused"; then
            pass "slixmpp refuses a wrong authority ($kind)"
        else
            fail "slixmpp failed, but not for the certificate ($kind)" "$scratch/refused"
        fi
    done
else
    skip "slixmpp cannot be installed here (python3-venv and the network are needed)"
fi

# go-sendxmpp: a message from the command line to a slixmpp account that listens.
PATH="$kept/bin:$PATH"
if ! command -v go-sendxmpp >/dev/null && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    apt-get install --yes --quiet --quiet go-sendxmpp >/dev/null 2>&1 || true
fi
if ! command -v go-sendxmpp >/dev/null && command -v go >/dev/null; then
    GOBIN="$kept/bin" go install salsa.debian.org/mdosch/go-sendxmpp@latest >/dev/null 2>&1 || true
fi
if ! command -v go-sendxmpp >/dev/null; then
    skip "go-sendxmpp cannot be installed here (a Debian package, or Go)"
elif ! have_slixmpp; then
    skip "go-sendxmpp has nobody to talk to without slixmpp"
else
    say "$(go-sendxmpp --version 2>&1 | head -n 1)"
    send() { # authority, port, options
        SSL_CERT_FILE="$1" SSL_CERT_DIR="$scratch/none" timeout 60 \
            go-sendxmpp "${@:3}" -u "carol@$host" -p "$CAROL_PASSWORD" -j "$host:$2" "bob@$host"
    }
    for door in "starttls $port" "direct $direct"; do
        read -r kind at <<<"$door"
        option=()
        if [ "$kind" = direct ]; then option=(--tls); fi
        if send "$scratch/wrong.pem" "$at" "${option[@]}" <<<"never" >"$scratch/refused" 2>&1; then
            fail "go-sendxmpp accepted a wrong authority ($kind)" "$scratch/refused"
        elif grep -qiE 'x509|certificate' "$scratch/refused"; then
            pass "go-sendxmpp refuses a wrong authority ($kind)"
        else
            fail "go-sendxmpp failed, but not for the certificate ($kind)" "$scratch/refused"
        fi

        mkfifo "$scratch/heard-$kind"
        chat "$port" "$ca" --listen "from the command line" >"$scratch/heard-$kind" 2>&1 &
        listener=$!
        exec 4<"$scratch/heard-$kind"
        IFS= read -r -t 60 word <&4 || word=""
        if [ "$word" != listening ]; then
            fail "bob did not listen: $word"
        elif ! send "$ca" "$at" "${option[@]}" <<<"from the command line" >"$scratch/sent" 2>&1; then
            fail "go-sendxmpp ($kind)" "$scratch/sent"
        else
            IFS= read -r -t 60 word <&4 || word=""
            case "$word" in
            "ok: bob hears carol@$host say from the command line") pass "go-sendxmpp is heard ($kind)" ;;
            *) fail "go-sendxmpp was not heard ($kind): $word" "$scratch/sent" ;;
            esac
        fi
        exec 4<&-
        kill "$listener" 2>/dev/null || true
        wait "$listener" 2>/dev/null || true
        listener=""
    done
fi

if [ -n "$server" ]; then
    kill -TERM "$server"
    if wait "$server"; then pass "natterd ends cleanly"; else fail "natterd did not end cleanly" "$scratch/natterd.log"; fi
    server=""
fi
# The Debian package: built, installed, started as its own user, removed without its data, purged with them.
if [ -n "${INTEROP_HOST:-}" ]; then
    :
elif [ "$(id -u)" != 0 ] || ! command -v dpkg-deb >/dev/null || ! command -v runuser >/dev/null; then
    skip "the Debian package needs root and dpkg"
elif getent passwd natter >/dev/null || [ -e /etc/natter ] || dpkg -s natter >/dev/null 2>&1; then
    skip "a natter is installed here already; it is not touched"
elif ! packaging/deb.sh "$target" "$scratch/debian" >"$scratch/deb" 2>&1; then
    fail "the Debian package is not built" "$scratch/deb"
else
    installed() {
        dpkg --install "$(tail -n 1 "$scratch/deb")" &&
            natterd --check --config /etc/natter/natter.toml &&
            [ "$(stat -c '%U %a' /var/lib/natter)" = "natter 700" ] &&
            [ -s /usr/share/man/man8/natterctl.8.gz ] &&
            runuser -u natter -- natterd --check &&
            runuser -u natter -- touch /var/lib/natter/kept
    }
    gone() {
        dpkg --remove natter && [ ! -e /usr/bin/natterd ] && [ -e /var/lib/natter/kept ] && [ -e /etc/natter/natter.toml ] &&
            dpkg --purge natter && [ ! -e /var/lib/natter ] && [ ! -e /etc/natter ] && ! getent passwd natter
    }
    if installed >"$scratch/dpkg" 2>&1; then pass "the Debian package is installed"; else fail "the Debian package" "$scratch/dpkg"; fi
    if gone >"$scratch/dpkg" 2>&1; then pass "the Debian package is removed and purged"; else fail "the Debian package stays" "$scratch/dpkg"; fi
fi
say "$ran checks ran, $failures failed, $skipped clients skipped"
[ "$failures" = 0 ] && [ "$ran" -gt 0 ]
