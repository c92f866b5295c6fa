# Moving house: accounts filled through XMPP on ejabberd and Prosody (Debian), written out by them, brought in here, and
# opened with the old passwords. Needs slixmpp.
#
# Both keep passwords in two ways, one a host: as keys and in the clear. Their servers live in the scratch folder, on ports
# of their own on loopback; ejabberd runs without a name, so that it needs no epmd.

export OLD_PASSWORD="the mover's old secret"
moving=("$python" "$here/moving.py")
free_port() { "$python" -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'; }
people="mover friend asker"

# Waits until somebody listens on a port, for as long as the process that is to listen lives.
listens() {
    local port="$1" process="$2"
    for _ in $(seq 300); do
        if (exec 4<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then return 0; fi
        kill -0 "$process" 2>/dev/null || return 1
        sleep 0.1
    done
    return 1
}

# Fills the accounts of $2 at the host $3, port $4, on the server called $1.
moving_fill() {
    if bounded 60 "${moving[@]}" fill "$2" "$3" 127.0.0.1 "$4" >"$scratch/moving" 2>&1; then
        sed -n 's/^ok: /    /p' "$scratch/moving"
    else
        fail "$1: the accounts at $3 could not be filled" "$scratch/moving"
        return 1
    fi
}

# Brings in what the server called $1 left at $2; the rest are pairs PREFIX=HOST.
moving_in() {
    local name="$1" from="$2" pair maps=()
    shift 2
    for pair in "$@"; do maps+=(--host-map "${pair#*=}=$host"); done
    if ! natterctl import "$from" "${maps[@]}" --check >"$scratch/moving" 2>&1; then
        fail "$name: the check fails" "$scratch/moving"
        return
    fi
    if ! natterctl import "$from" "${maps[@]}" >"$scratch/moving" 2>&1 ||
        ! grep -qE '^imported: +6$' "$scratch/moving" || ! grep -qE '^without_password: +0$' "$scratch/moving"; then
        fail "$name: not all came in" "$scratch/moving"
        return
    fi
    sed 's/^/    /' "$scratch/moving"
    if ! natterctl import "$from" "${maps[@]}" | grep -qE '^skipped_existing: +6$'; then
        fail "$name: the second time is not harmless"
        return
    fi
    for pair in "$@"; do
        if bounded 60 "${moving[@]}" check "${pair%%=*}" "$host" "$address" "$port" "$ca" "${pair#*=}" >"$scratch/moving" 2>&1 &&
            [ "$(grep -c '^ok: ' "$scratch/moving")" = 7 ] && grep -qx done "$scratch/moving"; then
            sed -n 's/^ok: /    /p' "$scratch/moving"
            pass "$name: accounts of ${pair#*=} moved in"
        else
            fail "$name: accounts of ${pair#*=}" "$scratch/moving"
        fi
    done
}

moving_from_ejabberd() {
    local place="$scratch/ejabberd" at ebin process prefix old who
    ebin="$(dpkg --listfiles ejabberd 2>/dev/null | grep '/ejabberd\.app$' | head -n 1)"
    if [ -z "$ebin" ] || ! command -v erl >/dev/null; then
        skip "ejabberd cannot be installed here (a Debian package)"
        return
    fi
    say "ejabberd $(dpkg-query --show --showformat='${Version}' ejabberd)"
    at="$(free_port)"
    mkdir -p "$place/out"
    cat >"$place/ejabberd.yml" <<YAML
hosts: [keys.example, clear.example]
loglevel: warning
host_config:
  keys.example: {auth_password_format: scram}
  clear.example: {auth_password_format: plain}
listen:
  - {port: $at, ip: "127.0.0.1", module: ejabberd_c2s}
modules: {mod_roster: {}, mod_offline: {}, mod_vcard: {}, mod_private: {}, mod_privacy: {}, mod_blocking: {}, mod_disco: {}}
YAML
    mkfifo "$place/stdin"
    # Open for reading as well, so that nobody waits for the other end.
    exec 5<>"$place/stdin"
    (
        cd "$place"
        HOME="$place" EJABBERD_CONFIG_PATH="$place/ejabberd.yml" EJABBERD_LOG_PATH="$place/log" \
            ERL_LIBS="$(dirname "$(dirname "$(dirname "$ebin")")")" \
            exec timeout --kill-after=10 120 erl -mnesia dir "\"$place/mnesia\"" -s ejabberd <"$place/stdin" >"$place/shell" 2>&1
    ) &
    process=$!
    started["$process"]=1
    if ! listens "$at" "$process"; then
        fail "ejabberd did not start" "$place/shell"
    else
        # The port is open before the tables are there; this waits until the start has ended.
        printf '{ok, _} = application:ensure_all_started(ejabberd).\n' >&5
        for old in e1=keys.example e2=clear.example; do
            for who in $people; do
                printf 'ok = ejabberd_auth:try_register(<<"%s">>, <<"%s">>, <<"%s">>).\n' \
                    "${old%%=*}$who" "${old#*=}" "$OLD_PASSWORD" >&5
            done
        done
        printf 'file:write_file("%s", "").\n' "$place/registered" >&5
        for _ in $(seq 300); do
            if [ -e "$place/registered" ]; then break; fi
            sleep 0.1
        done
        if moving_fill ejabberd e1 keys.example "$at" && moving_fill ejabberd e2 clear.example "$at"; then
            # This is what \`ejabberdctl export_piefxis\` calls.
            printf 'ok = ejabberd_piefxis:export_server(<<"%s">>).\ninit:stop().\n' "$place/out" >&5
            if ended "$process" && [ "$(find "$place/out" -name '*.xml' | wc -l)" = 3 ]; then
                moving_in ejabberd "$place/out" e1=keys.example e2=clear.example
            else
                fail "ejabberd exported nothing" "$place/shell"
            fi
        fi
    fi
    exec 5>&-
    if [ -n "${started[$process]:-}" ]; then end "$process"; fi
}

moving_from_prosody() {
    local place="$scratch/prosody" at process old who
    if ! command -v prosody >/dev/null; then
        skip "Prosody cannot be installed here (a Debian package)"
        return
    fi
    say "Prosody $(dpkg-query --show --showformat='${Version}' prosody)"
    at="$(free_port)"
    mkdir -p "$place/data"
    cat >"$place/prosody.cfg.lua" <<LUA
data_path = "$place/data"
pidfile = "$place/pid"
run_as_root = true
interfaces = { "127.0.0.1" }
c2s_ports = { $at }
modules_enabled = { "roster", "saslauth", "disco", "private", "blocklist" }
modules_disabled = { "s2s", "s2s_auth_certs", "tls" }
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
log = { { levels = { min = "debug" }, to = "console" } }
VirtualHost "keys.example"
    authentication = "internal_hashed"
    modules_enabled = { "vcard" }
VirtualHost "clear.example"
    authentication = "internal_plain"
    modules_enabled = { "pep", "vcard_legacy" }
LUA
    for old in p1=keys.example p2=clear.example; do
        for who in $people; do
            bounded 30 prosodyctl --config "$place/prosody.cfg.lua" register "${old%%=*}$who" "${old#*=}" "$OLD_PASSWORD" \
                >>"$place/ctl" 2>&1 || true
        done
    done
    begin 120 prosody --config "$place/prosody.cfg.lua" -F >"$place/log" 2>&1
    process="$begun"
    if ! listens "$at" "$process"; then
        cat "$place/log" >>"$place/ctl"
        fail "Prosody did not start" "$place/ctl"
        return
    fi
    if moving_fill Prosody p1 keys.example "$at" && moving_fill Prosody p2 clear.example "$at"; then
        end "$process"
        moving_in Prosody "$place/data" p1=keys.example p2=clear.example
    else
        end "$process"
    fi
}

if [ -z "$server" ]; then
    skip "moving in is a matter of natterctl"
elif ! have_slixmpp; then
    skip "nobody can fill accounts on other servers (slixmpp is not here)"
else
    need erl erlang-base || true
    # Their services are not started.
    export RUNLEVEL=1
    dpkg --listfiles ejabberd >/dev/null 2>&1 || need ejabberdctl ejabberd || true
    need prosody prosody || true
    moving_from_ejabberd
    moving_from_prosody
fi
