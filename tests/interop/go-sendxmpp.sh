# go-sendxmpp (Debian, or Go): a message from the command line to a slixmpp account that listens.

PATH="$kept/bin:$PATH"
if ! need go-sendxmpp go-sendxmpp && command -v go >/dev/null; then
    GOBIN="$kept/bin" bounded 300 go install salsa.debian.org/mdosch/go-sendxmpp@latest >/dev/null 2>&1 || true
fi

send() { # authority, port, options; the text comes in
    SSL_CERT_FILE="$1" SSL_CERT_DIR="$scratch/none" bounded 60 \
        go-sendxmpp "${@:3}" -u "carol@$host" -p "$CAROL_PASSWORD" -j "$host:$2" "bob@$host"
}
say_to_bob() {
    local door kind at option listener word
    say "$(go-sendxmpp --version 2>&1 | head -n 1)"
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
        # Both ways: to open one end alone waits for the other.
        exec 4<>"$scratch/heard-$kind"
        begin 180 "${chat[@]}" "$port" "$ca" --listen "from the command line" >&4 2>&1
        listener="$begun"
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
        end "$listener"
    done
}
if ! command -v go-sendxmpp >/dev/null; then
    skip "go-sendxmpp cannot be installed here (a Debian package, or Go)"
elif ! have_slixmpp; then
    skip "go-sendxmpp has nobody to talk to without slixmpp"
else
    say_to_bob
fi
