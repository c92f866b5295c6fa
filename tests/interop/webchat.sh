# The chat page in headless Chromium (Debian), driven through puppeteer-core (npm, into .interop/node): two people, one
# of them where no WebSocket comes through. What they saw lies in .interop/webchat/ afterwards.

. "$here/node_install.sh"

page_chats() {
    local pictures="$kept/webchat"
    rm -rf "$pictures"
    mkdir -p "$pictures"
    # People of its own: whom other clients have made contacts asks nobody any more.
    export ANNA_PASSWORD="anna's secret" BEN_PASSWORD="ben's secret"
    register anna "$host" "$ANNA_PASSWORD"
    register ben "$host" "$BEN_PASSWORD"
    open_page
    say "$(chromium --version 2>/dev/null)"
    if bounded 300 node "$here/node/browser.js" "http://$host:$http" "$(command -v chromium)" "$pictures" >"$scratch/page" 2>&1 &&
        [ "$(tail -n 1 "$scratch/page")" = done ]; then
        sed 's/^/    /' "$scratch/page"
        pass "two people on the chat page, by WebSocket and by BOSH"
    else
        fail "two people on the chat page" "$scratch/page"
    fi
}
if [ -z "$server" ]; then
    skip "the chat page: it is natterd's own"
elif ! have_node || ! need chromium chromium; then
    skip "the chat page cannot be driven here (node, npm and Debian's chromium)"
else
    page_chats
fi
