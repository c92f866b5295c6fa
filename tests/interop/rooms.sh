# Three kinds of client in one room: slixmpp makes it and keeps it, somebody is on the chat page in headless Chromium, and
# somebody sits at profanity. Each waits for what the others do.

. "$here/node_install.sh"
. "$here/terminal.sh"

ROOM_TONI_PASSWORD="tonis-secret"

# Whoever runs beside the terminal, as far as it has come.
keeper_says() {
    local deadline=$((SECONDS + 90))
    until grep -qF -- "ok: $1" "$scratch/keeper"; do
        if [ "$SECONDS" -ge "$deadline" ]; then
            vain="slixmpp does not say: $1"
            return 1
        fi
        sleep 0.1
    done
}
toni_visits() {
    local room="$1"
    open toni "$ca" && connects toni "$ROOM_TONI_PASSWORD" "$port" force || return
    types toni "/presence room all"
    types toni "/join $room nick toni"
    sees toni "You have joined the room as toni" || return
    sees toni "Alice" && sees toni "rosa" || return
    seen "toni joins and sees alice and rosa"
    sees toni "hello from slixmpp" || return
    types toni "hello from the terminal"
    sees toni "hello from the browser" && sees toni "hello from the terminal" || return
    seen "toni hears both"
    sees toni "Apples and pears" || return
    seen "toni sees the subject"
    types toni "/nick tony"
    # What he says, profanity shows at once, under the name it knows by then: the list of occupants has to have the new.
    keeper_says "alice sees toni become tony" && sees toni "tony" || return
    types toni "call me tony"
    sees toni "tony: call me tony" || return
    seen "toni becomes tony"
    types toni "that is me"
    sees toni "Kicked from $room by Alice, reason: windfall" || return
    seen "tony is thrown out and told why"
    keeper_says "alice hears that rosa sees it too" || return
    types toni "/join $room nick tony"
    sees toni "You have joined the room as tony" || return
    sees toni "Alice has left the room" || return
    seen "tony comes back and sees alice leave"
}
in_one_room() {
    local room="orchard@conference.$host" keeper page pictures="$kept/webchat" right=0
    mkdir -p "$pictures"
    : >"$scratch/keeper" && : >"$scratch/page"
    begin 500 "$python" "$here/room.py" "$host" "$address" "$port" "$ca" "$room" >"$scratch/keeper" 2>&1
    keeper="$begun" page=""
    if keeper_says "alice configures the room"; then
        begin 500 node "$here/node/room.js" "http://$host:$http" "$(command -v chromium)" "$pictures" "$room" \
            >"$scratch/page" 2>&1
        page="$begun"
        toni_visits "$room" || right=1
    else
        right=1
    fi
    if [ "$right" != 0 ]; then
        # Whoever waits for toni waits in vain.
        end "$keeper"
        if [ -n "$page" ]; then end "$page"; fi
    else
        ended "$keeper" && [ "$(tail -n 1 "$scratch/keeper")" = done ] || {
            right=1 vain="slixmpp is not content"
        }
        ended "$page" && [ "$(tail -n 1 "$scratch/page")" = done ] || {
            right=1 vain="the chat page is not content"
        }
    fi
    sed 's/^/    /' "$scratch/keeper" "$scratch/page"
    return "$right"
}
if [ -z "$server" ]; then
    skip "three clients in one room: the chat page is natterd's own"
elif ! have_slixmpp || ! have_node || ! need chromium chromium || ! have_terminal; then
    skip "not all of slixmpp, chromium and profanity are here"
else
    export ROSA_PASSWORD="rosa's secret"
    # People of its own: no other part has met them.
    register rosa "$host" "$ROSA_PASSWORD"
    register toni "$host" "$ROOM_TONI_PASSWORD"
    open_page
    play in_one_room "slixmpp, the chat page and profanity in one room"
    end_terminals
fi
