# shellcheck shell=bash
# What each server needs, how it is configured and started; sourced by run.sh. Settings are as fair as they can be made
# alike: loopback alone, plain and direct TLS with the same certificate, in-band registration without a delay, SCRAM keys
# of SHA-1 with 4096 rounds, no shapers, warnings logged, the same stanza size, rooms on.

# Read by run.sh.
# shellcheck disable=SC2034
declare -A ports=([floor]=15200 [natterd]=15222 [ejabberd]=15322 [prosody]=15422)
# shellcheck disable=SC2034
declare -A tls_ports=([floor]=15201 [natterd]=15223 [ejabberd]=15323 [prosody]=15423)

build() {
    local out="${CARGO_TARGET_DIR:-target}/release"
    if [ -z "${NATTERD:-}" ] || [ -z "${LOAD:-}" ]; then
        "${CARGO:-cargo}" build --release --locked --package supervisors --package load
    fi
    natterd="$(realpath "${NATTERD:-$out/natterd}")"
    load="$(realpath "${LOAD:-$out/natter-load}")"
}

# An authority and one certificate that all servers show.
certify() {
    openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 10 -subj "/CN=bench-peers" \
        -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign \
        -keyout "$scratch/authority.key" -out "$scratch/authority.pem" 2>/dev/null
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj "/CN=localhost" \
        -keyout "$scratch/localhost.key" -out "$scratch/localhost.csr" 2>/dev/null
    printf 'subjectAltName = DNS:localhost, DNS:*.localhost\nextendedKeyUsage = serverAuth\n' >"$scratch/ext"
    openssl x509 -req -in "$scratch/localhost.csr" -CA "$scratch/authority.pem" -CAkey "$scratch/authority.key" \
        -CAcreateserial -days 10 -extfile "$scratch/ext" -out "$scratch/localhost.crt" 2>/dev/null
    cat "$scratch/localhost.crt" "$scratch/localhost.key" >"$scratch/localhost.pem"
}

# Makes sure of a command $1, out of the Debian package of the same name, without letting it start.
installed() {
    command -v "$1" >/dev/null && return
    [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || return 1
    say "installing $2"
    local deny="" policy=/usr/sbin/policy-rc.d
    if [ ! -e "$policy" ]; then
        printf '#!/bin/sh\nexit 101\n' >"$policy"
        chmod +x "$policy"
        deny=1
    fi
    { apt-get update --quiet --quiet && DEBIAN_FRONTEND=noninteractive timeout 600 \
        apt-get install --yes --quiet --quiet --no-install-recommends "$2"; } >"$scratch/apt" 2>&1 || true
    [ -n "$deny" ] && rm "$policy"
    command -v "$1" >/dev/null
}
version_of() { dpkg-query --showformat='${Version}' --show "$1" 2>/dev/null || echo "unknown"; }

need_floor() { :; }
version_floor() { "$load" --version; }
prepare_floor() { :; }
command_floor() { printf '%s\n' "$load" relay --listen "127.0.0.1:${ports[floor]}"; }

need_natterd() { [ -x "$natterd" ]; }
version_natterd() { "$natterd" --version 2>/dev/null || echo natterd; }
command_natterd() { printf '%s\n' "$natterd" --config "$1/natter.toml"; }
# A default configuration but for the doors, registration, and room for everybody to log in at once.
prepare_natterd() {
    local folder="$1" hosts
    shift
    hosts="$(printf '"%s", ' "$@")"
    cat >"$folder/natter.toml" <<TOML
hosts = [${hosts%, }]
data_dir = "data"
log = "warn"

[[listener]]
address = "127.0.0.1:${ports[natterd]}"
tls = "off"
backlog = 4096

[[listener]]
address = "127.0.0.1:${tls_ports[natterd]}"
tls = "direct"
backlog = 4096

[tls]
certificates = ["$scratch/localhost.pem"]

[limits]
connections_before_login = 30000

[modules.mod_register]
enabled = true
TOML
    # Rooms, in versions that have them.
    if "$natterd" --print-doc config | grep -q '^## `\[modules.mod_muc\]`'; then
        printf '\n[modules.mod_muc]\nenabled = true\n' >>"$folder/natter.toml"
    fi
}

need_ejabberd() { installed ejabberdctl ejabberd && command -v erl >/dev/null; }
version_ejabberd() { echo "ejabberd $(version_of ejabberd), Erlang $(version_of erlang-base)"; }
# Without a node name: no distribution, so no epmd and no port but those of XMPP.
command_ejabberd() {
    printf '%s\n' env "HOME=$1" "ERL_LIBS=/usr/lib/$(uname -m)-linux-gnu" "EJABBERD_CONFIG_PATH=$1/ejabberd.yml" \
        "EJABBERD_LOG_PATH=$1/ejabberd.log" ERL_CRASH_DUMP_BYTES=0 ERL_MAX_PORTS=65536 ERL_MAX_ETS_TABLES=20000 \
        erl +K true +P 250000 +Q 65536 +sbwt none +sbwtdcpu none +sbwtdio none \
        -noinput -mnesia dir "\"$1/mnesia\"" -s ejabberd
}
prepare_ejabberd() {
    local folder="$1" hosts
    shift
    hosts="$(printf '  - "%s"\n' "$@")"
    cat >"$folder/ejabberd.yml" <<YAML
hosts:
$hosts
loglevel: warning
certfiles:
  - "$scratch/localhost.pem"
auth_method: internal
auth_password_format: scram
auth_scram_hash: sha
registration_timeout: infinity
listen:
  -
    port: ${ports[ejabberd]}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: all
    backlog: 4096
  -
    port: ${tls_ports[ejabberd]}
    ip: "127.0.0.1"
    module: ejabberd_c2s
    max_stanza_size: 262144
    shaper: none
    access: all
    backlog: 4096
    tls: true
shaper_rules:
  max_user_sessions: 50
  max_user_offline_messages: 1000
modules:
  mod_adhoc: {}
  mod_announce: {}
  mod_blocking: {}
  mod_caps: {}
  mod_configure: {}
  mod_disco: {}
  mod_last: {}
  mod_muc:
    host: "conference.@HOST@"
    max_users: 1000
    default_room_options:
      max_users: 1000
  mod_offline:
    access_max_user_messages: max_user_offline_messages
  mod_ping: {}
  mod_privacy: {}
  mod_private: {}
  mod_register:
    ip_access: all
    access: all
  mod_roster:
    versioning: true
  mod_time: {}
  mod_vcard: {}
  mod_version: {}
YAML
}

need_prosody() { installed prosody prosody; }
version_prosody() { echo "Prosody $(version_of prosody), $(dpkg-query --showformat='${Package}' --show 'lua5.4' 2>/dev/null || echo Lua)"; }
command_prosody() { printf '%s\n' prosody -F --config "$1/prosody.cfg.lua"; }
prepare_prosody() {
    local folder="$1" host
    shift
    mkdir -p "$folder/data"
    cat >"$folder/prosody.cfg.lua" <<LUA
run_as_root = true
pidfile = "$folder/prosody.pid"
data_path = "$folder/data"
log = { warn = "*console" }
interfaces = { "127.0.0.1" }
local_interfaces = { "127.0.0.1" }
c2s_ports = { ${ports[prosody]} }
c2s_direct_tls_ports = { ${tls_ports[prosody]} }
s2s_ports = {}
http_ports = {}
https_ports = {}
network_backend = "epoll"
network_settings = { tcp_backlog = 4096 }
gc = { mode = "generational" }
storage = "internal"
authentication = "internal_hashed"
default_iteration_count = 4096
c2s_require_encryption = false
allow_unencrypted_plain_auth = true
c2s_stanza_size_limit = 262144
allow_registration = true
ssl = { certificate = "$scratch/localhost.crt", key = "$scratch/localhost.key" }
c2s_direct_tls_ssl = { certificate = "$scratch/localhost.crt", key = "$scratch/localhost.key" }
modules_disabled = { "s2s" }
modules_enabled = {
    "roster", "saslauth", "tls", "disco", "presence", "message", "iq", "offline", "ping", "time", "version",
    "lastactivity", "private", "vcard_legacy", "blocklist", "register_ibr", "user_account_management", "adhoc", "announce",
}
LUA
    for host in "$@"; do
        printf 'VirtualHost "%s"\n' "$host" >>"$folder/prosody.cfg.lua"
    done
    printf 'Component "conference.localhost" "muc"\n' >>"$folder/prosody.cfg.lua"
}

# What the runs were made with, for the head of the page.
settings() {
    local peer disk aged=""
    disk="$(df --output=fstype "$scratch" | tail -n 1)"
    case " $states " in *" aged "*) aged=" Aged: after $age registrations and logins." ;; esac
    cat <<MD
Printed by \`make bench-peers\`: $rounds rounds, all servers in turn for each workload, the generator on the same machine. Fresh: the
process begins anew with each round.$aged Counts scaled by $scale.

MD
    for peer in $peers; do
        case "$peer" in
        floor) echo "- floor: \`natter-load relay\`, a byte scan, a map and a write; plain TCP, no login worth its name" ;;
        natterd) echo "- natterd: ${versions[natterd]}; every limit on as installed, but for more connections that have not logged in; commits wait for the disk (SQLite, \`synchronous=FULL\`)" ;;
        ejabberd) echo "- ejabberd: ${versions[ejabberd]}; \`+K true +sbwt none +sbwtdcpu none +sbwtdio none\`, no shapers, Mnesia on disc (no wait for the disk), SCRAM keys of SHA-1" ;;
        prosody) echo "- Prosody: ${versions[prosody]}; \`gc = { mode = \"generational\" }\`, epoll, internal storage (no wait for the disk), SCRAM keys of SHA-1 with 4096 rounds" ;;
        esac
    done
    echo "- data on $disk, under ${TMPDIR:-/tmp}"
    echo "- all: loopback, the same certificate (ECDSA P-256), in-band registration without delay, warnings logged, stanzas of up to 256 KiB, backlog 4096, service discovery, rosters, kept messages, privacy or blocking lists, private data, vCards, ping, time, version, rooms where there are any"
}
