# slixmpp (pip, into .interop/venv): everything two people do; and the other side for clients that need one.

python="$kept/venv/bin/python"
have_slixmpp() { "$python" -c 'import slixmpp' 2>/dev/null; }
if ! have_slixmpp; then
    mkdir -p "$kept"
    python3 -m venv "$kept/venv" && bounded 300 \
        "$kept/venv/bin/pip" --quiet --disable-pip-version-check install 'slixmpp>=1.10' || true
fi
# How chat.py is called: `bounded 180 "${chat[@]}" PORT CA ...`, or with `begin`.
chat=("$python" "$here/chat.py" "$host" "$address")

slixmpp() {
    if ! have_slixmpp; then
        skip "slixmpp cannot be installed here (python3-venv and the network are needed)"
        return
    fi
    say "slixmpp $("$python" -c 'import slixmpp; print(slixmpp.__version__)')"
    local option=() expected=15 seen door kind at
    if [ -n "$server" ]; then
        natterctl module_start "$host" mod_echo
        option=(--echo "echo.$host")
        expected=16
    fi
    if bounded 180 "${chat[@]}" "$port" "$ca" "${option[@]}" >"$scratch/chat" 2>&1 &&
        [ "$(tail -n 1 "$scratch/chat")" = done ]; then
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
        if bounded 180 "${chat[@]}" "$at" "$scratch/wrong.pem" "${option[@]}" >"$scratch/refused" 2>&1; then
            fail "slixmpp accepted a wrong authority ($kind)" "$scratch/refused"
        elif grep -qE 'certificate|CERTIFICATE|ssl_invalid_chain' "$scratch/refused" && ! grep -q '^ok: ' "$scratch/refused"; then
            pass "slixmpp refuses a wrong authority ($kind)"
        else
            fail "slixmpp failed, but not for the certificate ($kind)" "$scratch/refused"
        fi
    done
}
