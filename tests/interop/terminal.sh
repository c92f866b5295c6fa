# profanity (Debian) in tmux: how people at their terminals are made to type, and what their screens show.

have_terminal() { need profanity profanity && need tmux tmux; }

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
        SSL_CERT_FILE="$2" timeout --foreground 500 profanity
    sees "$1" "Type '/help' to show complete help"
}
screen() { terminal capture-pane -p -t "$1" 2>/dev/null | grep -v '^ *$' || true; }
types() {
    terminal send-keys -t "$1" -l -- "$2"
    terminal send-keys -t "$1" Enter
}
# Waits until a screen shows a text; what was awaited in vain is in $vain.
sees() {
    local deadline=$((SECONDS + 90))
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
