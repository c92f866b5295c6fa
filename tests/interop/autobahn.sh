# The Autobahn test suite (PyPI, into .interop/autobahn): 301 cases of RFC 6455 against httpd's WebSockets, messages of
# 16 MiB and a thousand in a row among them. It is written in Python 2; where there is none, a table of its cases in
# crates/httpd/tests/httpd/ws_cases.rs is what remains. The cases of compression (12, 13) are left out: there is none.

autobahn_python() {
    local python
    for python in python2.7 python2 "$HOME"/.pyenv/versions/2.7*/bin/python2.7; do
        "$python" -c 'import sys; sys.exit(sys.version_info[:2] != (2, 7))' 2>/dev/null && echo "$python" && return
    done
    return 1
}
have_autobahn() {
    wstest_python="$(autobahn_python)" || return 1
    [ -e "$kept/autobahn/done" ] && return
    bounded 300 "$wstest_python" -m pip install --quiet --disable-pip-version-check --target "$kept/autobahn" \
        autobahntestsuite==25.10.1 >"$scratch/autobahn-install" 2>&1 && touch "$kept/autobahn/done"
}
autobahn() {
    local profile="${INTEROP_PROFILE:-release}" line="" server_of_echo
    cargo build --quiet --profile "$profile" --package httpd --example echo
    mkfifo "$scratch/echo"
    # A shell of its own opens the pipe: whoever opens one end waits for the other.
    # shellcheck disable=SC2016 # it is that shell's
    begin 600 bash -c 'exec "$@" 2>"$0"' "$scratch/echo" \
        "${CARGO_TARGET_DIR:-target}/${profile/#dev/debug}/examples/echo" 127.0.0.1:0
    server_of_echo="$begun"
    exec 4<"$scratch/echo"
    read -r -t 60 line <&4 || true
    case "$line" in
    "serving on "*) ;;
    *)
        fail "httpd's echo did not start"
        return
        ;;
    esac
    cat >"$scratch/autobahn.json" <<JSON
{"outdir": "$scratch/autobahn", "servers": [{"agent": "httpd", "url": "ws://${line#serving on }/echo"}],
 "cases": ["*"], "exclude-cases": ["12.*", "13.*"], "exclude-agent-cases": {}}
JSON
    if bounded 500 "$wstest_python" -c '
import site, sys
site.addsitedir(sys.argv.pop(1))
from autobahntestsuite.wstest import run
run()' "$kept/autobahn" -m fuzzingclient -s "$scratch/autobahn.json" >"$scratch/autobahn.log" 2>&1 &&
        python3 "$here/autobahn.py" "$scratch/autobahn/index.json" >"$scratch/autobahn.judged"; then
        sed 's/^/    /' "$scratch/autobahn.judged"
        pass "the Autobahn suite finds nothing wrong"
    else
        tail -n 5 "$scratch/autobahn.log" >>"$scratch/autobahn.judged"
        fail "the Autobahn suite" "$scratch/autobahn.judged"
    fi
    end "$server_of_echo"
    exec 4<&-
}
if have_autobahn; then
    autobahn
else
    skip "the Autobahn suite cannot be installed here (Python 2.7 with pip)"
fi
