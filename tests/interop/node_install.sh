# npm packages, into .interop/node: what the clients of web pages are made of.

export INTEROP_NODE="$kept/node"
have_node() { [ -d "$INTEROP_NODE/node_modules/strophe.js" ] && command -v node >/dev/null; }
if need node nodejs && need npm npm && ! cmp -s "$here/node/package.json" "$INTEROP_NODE/installed"; then
    mkdir -p "$INTEROP_NODE"
    cp "$here/node/package.json" "$INTEROP_NODE/package.json"
    if bounded 300 npm --prefix "$INTEROP_NODE" install --no-audit --no-fund --omit=dev >"$scratch/npm" 2>&1; then
        cp "$here/node/package.json" "$INTEROP_NODE/installed"
    fi
fi

# The chat page of the server under test, opened by whoever needs it first.
open_page() {
    if [ -z "${page_is_open:-}" ]; then natterctl module_start "$host" mod_webchat; fi
    page_is_open=yes
}
