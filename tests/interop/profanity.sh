# profanity (Debian) in tmux: two people at their terminals, judged by what their screens show.
#
# Dave makes his account himself where the server is ours. Erin comes by direct TLS.

DAVE_PASSWORD="daves-secret" ERIN_PASSWORD="erins-secret"

terminal() { env -u TMUX tmux -S "$scratch/tmux" -f /dev/null "$@"; }
# Ends every terminal, and waits until their programs are gone.
end_terminals() {
    local programs deadline=$((SECONDS + 10))
    programs="$(terminal list-panes -a -F '#{pane_pid}' 2>/dev/null)" || return 0
    terminal kill-server 2>/dev/null || true
    while kill -0 $programs 2>/dev/null && [ "$SECONDS" -lt "$deadline" ]; do sleep 0.1; done
}
at_end+=(end_terminals)

# Opens profanity in a terminal called $1, with the authority $2 and a home of its own.
open() {
    mkdir -p "$scratch/home-$1"
    terminal new-session -d -x 160 -y 60 -s "$1" env HOME="$scratch/home-$1" \
        XDG_CONFIG_HOME="$scratch/home-$1" XDG_DATA_HOME="$scratch/home-$1" LC_ALL=C.UTF-8 \
        SSL_CERT_FILE="$2" timeout --foreground 240 profanity
    sees "$1" "Type '/help' to show complete help"
}
screen() { terminal capture-pane -p -t "$1" 2>/dev/null | grep -v '^ *$' || true; }
types() {
    terminal send-keys -t "$1" -l -- "$2"
    terminal send-keys -t "$1" Enter
}
# Waits until a screen shows a text; what was awaited in vain is in $vain.
sees() {
    local deadline=$((SECONDS + 30))
    until screen "$1" | grep -qF -- "$2"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            vain="$1 does not see: $2"
            return 1
        fi
        sleep 0.1
    done
}
# What must not be on a screen, is not.
sees_not() {
    if screen "$1" | grep -qF -- "$2"; then
        vain="$1 sees: $2"
        return 1
    fi
}
seen() { say "    $1"; }
connects() { # terminal, password, port, how
    types "$1" "/connect $1@$host server $address port $3 tls $4"
    sees "$1" "Enter password:"
    types "$1" "$2"
    sees "$1" "logged in successfully, online"
}

refuses() {
    open mallory "$scratch/wrong.pem"
    types mallory "/connect erin@$host server $address port $port tls force"
    sees mallory "Enter password:"
    types mallory "$ERIN_PASSWORD"
    sees mallory "Use '/tls deny' to reject this certificate"
    sees_not mallory "logged in"
    types mallory "/tls deny"
    sees mallory "Login failed"
    sees_not mallory "logged in"
}
registers() {
    open dave "$ca"
    types dave "/register dave $host port $port tls force"
    sees dave "Enter password:"
    types dave "$DAVE_PASSWORD"
    sees dave "Confirm password:"
    types dave "$DAVE_PASSWORD"
    sees dave "Registration successful."
    # This version of profanity takes no further connection after one that registered.
    terminal kill-session -t dave
}
chats() {
    local dave="dave@$host" erin="erin@$host"
    open dave "$ca" && connects dave "$DAVE_PASSWORD" "$port" force || return
    open erin "$ca" && connects erin "$ERIN_PASSWORD" "$direct" legacy || return
    seen "dave logs in by STARTTLS, erin by direct TLS"
    # What is typed is no message: an error that comes back is that of the words sent.
    types dave "/states off"

    types dave "/roster add $erin Erin"
    sees dave "Roster item added: $erin (Erin)" || return
    types dave "/sub request $erin"
    sees erin "Received authorization request from $dave" || return
    types erin "/sub allow $dave"
    sees dave "Subscription received from $erin" && sees dave "++ Erin" || return
    types erin "/sub request $dave"
    sees dave "Received authorization request from $erin" || return
    types dave "/sub allow $erin"
    sees erin "Subscription received from $dave" && sees erin "++ $dave" || return
    seen "both are contacts of each other and see each other online"

    types dave "/msg $erin hello from dave"
    sees erin "chat message: $dave" || return
    types erin "/msg $dave hello from erin"
    sees erin "hello from dave" && sees dave "hello from erin" || return
    seen "both hear each other"

    types erin "/blocked add $dave"
    types erin "/win 1"
    sees erin "User $dave successfully blocked." || return
    types dave "words for nobody"
    sees dave "Error from $erin: service-unavailable" || return
    types erin "/blocked remove $dave"
    sees erin "User $dave successfully unblocked." || return
    types dave "words for erin"
    types erin "/msg $dave"
    sees erin "words for erin" && sees erin "hello from dave" && sees_not erin "words for nobody" || return
    seen "erin blocks dave and does not hear him, then hears him again"
    types dave "/disconnect"
    sees dave "$dave logged out successfully" || return
    types erin "/win 1"
    sees erin "-- $dave" || return
    seen "erin sees dave go"
}
# One thing to pass or fail, with the screens where it failed.
play() {
    local name
    vain="it could not be started"
    if "$1"; then
        pass "$2"
    else
        for name in $(terminal list-sessions -F '#{session_name}' 2>/dev/null); do
            printf '%s\n' "--- $name:"
            screen "$name" | tail -n 25
        done >"$scratch/screens"
        fail "$2: $vain" "$scratch/screens"
    fi
}

if ! need profanity profanity || ! need tmux tmux; then
    skip "profanity or tmux cannot be installed here (Debian packages)"
else
    say "$(profanity --version | head -n 1)"
    register erin "$host" "$ERIN_PASSWORD"
    play refuses "profanity refuses a wrong authority"
    if [ -n "$server" ]; then
        play registers "profanity registers an account"
    else
        register dave "$host" "$DAVE_PASSWORD"
    fi
    play chats "profanity: contacts, chat, block"
    end_terminals
fi
