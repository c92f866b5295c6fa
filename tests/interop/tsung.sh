# tsung (Debian, Erlang): people who come by STARTTLS, log in, look at their roster, and talk, two new ones a second.
#
# Judged by tsung's own statistics. Everybody's every answer must be what was awaited, and everybody must finish.

TSUNG_PEOPLE=60 TSUNG_ACCOUNTS=70
export ERL_EPMD_PORT ERL_EPMD_ADDRESS=127.0.0.1 ERL_FLAGS='-kernel inet_dist_use_interface {127,0,0,1}'

# Erlang's own daemon stays behind what raised it; this one has a port of its own, so it is ours to end.
end_epmd() { if [ -n "${ERL_EPMD_PORT:-}" ]; then epmd -kill >/dev/null 2>&1 || true; fi; }

tsung_scenario() {
    sed -e "s/@HOST@/$host/" -e "s/@ADDRESS@/$address/" -e "s/@PORT@/$port/" -e "s/@PEOPLE@/$TSUNG_PEOPLE/" \
        -e "s/@ACCOUNTS@/$TSUNG_ACCOUNTS/" "$here/tsung.xml"
}
tsung_run() {
    local number log
    say "tsung $(dpkg-query --show --showformat='${Version}' tsung 2>/dev/null || true)"
    # tsung makes names and passwords out of a word and a number.
    for number in $(seq "$TSUNG_ACCOUNTS"); do register "load$number" "$host" "load$number" >/dev/null; done
    ERL_EPMD_PORT="$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')"
    at_end+=(end_epmd)
    mkdir "$scratch/tsung"
    tsung_scenario >"$scratch/tsung.xml"
    HOME="$scratch" bounded 120 tsung -n -f "$scratch/tsung.xml" -l "$scratch/tsung" start >"$scratch/tsung.out" 2>&1 </dev/null ||
        say "tsung returned $?"
    end_epmd
    log="$(find "$scratch/tsung" -name tsung.log | head -n 1)"
    if [ -z "$log" ]; then
        fail "tsung wrote no statistics" "$scratch/tsung.out"
    elif python3 "$here/tsung_statistics.py" "$log" "$TSUNG_PEOPLE" >"$scratch/tsung.judged" 2>&1; then
        sed 's/^/    /' "$scratch/tsung.judged"
        pass "tsung: $TSUNG_PEOPLE people come, talk and go"
    else
        tail -n 40 "$log" >>"$scratch/tsung.judged"
        fail "tsung" "$scratch/tsung.judged"
    fi
}

if ! need tsung tsung; then
    skip "tsung cannot be installed here (a Debian package)"
else
    tsung_run
fi
