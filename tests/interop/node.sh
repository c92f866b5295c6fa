# strophe.js and @xmpp/client (npm, into .interop/node): clients of web pages, over WebSocket and BOSH, in node.

. "$here/node_install.sh"

node_chats() { # authority, clients
    NODE_EXTRA_CA_CERTS="$1" bounded 180 node "$here/node/chat.js" "$host" "https://$host:$https" "${@:2}"
}
node_clients() {
    local pair
    for pair in "strophe-websocket strophe-bosh" "strophe-bosh xmpp.js" "xmpp.js strophe-websocket"; do
        # shellcheck disable=SC2086 # two words
        if node_chats "$ca" $pair >"$scratch/chat" 2>&1 && [ "$(tail -n 1 "$scratch/chat")" = done ]; then
            sed 's/^/    /' "$scratch/chat"
            pass "$pair"
        else
            fail "$pair" "$scratch/chat"
        fi
    done
    for pair in "strophe-bosh strophe-bosh" "xmpp.js xmpp.js"; do
        # shellcheck disable=SC2086
        if node_chats "$scratch/wrong.pem" $pair >"$scratch/refused" 2>&1 || grep -q '^ok: ' "$scratch/refused"; then
            fail "${pair%% *} accepted a wrong authority" "$scratch/refused"
        else
            pass "${pair%% *} refuses a wrong authority"
        fi
    done
}
if [ -z "$https" ]; then
    skip "strophe.js and @xmpp/client: the server has no HTTPS that this script knows of"
elif have_node; then
    node_clients
else
    skip "strophe.js and @xmpp/client cannot be installed here (node and npm)"
fi
