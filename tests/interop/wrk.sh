# wrk (Debian): asks as fast as it can for 20 s while a module's paths come and go every 50 ms. No answer may be wrong.
#
# Judged by what wrk.lua counts: the server's own path is 200 with its body each time; the module's is 200 with its body
# or 404, both of them seen. Nothing may end without an answer. How fast it was is not judged.

WRK_SECONDS="${WRK_SECONDS:-20}"

wrk_swaps() {
    local swaps=0
    # By the API: a program for each swap would take longer than a swap may.
    while :; do
        for command in module_start module_stop; do
            curl --silent --show-error --fail --max-time 10 --output /dev/null \
                -H "Authorization: Bearer $1" -H 'Content-Type: application/json' \
                -d "{\"host\": \"$host\", \"module\": \"mod_host_meta\", \"transient\": true}" \
                "http://127.0.0.1:$http/api/$command" || return 1
            swaps=$((swaps + 1))
            printf '%s\n' "$swaps" >"$scratch/wrk.swaps"
            sleep 0.05
        done
    done
}

wrk_run() {
    local token swapping status=0
    wrk --version 2>&1 | head -n 1 | sed 's/^/interop: /' || true
    register wrkadmin "$host" "wrkadmins secret"
    natterctl set_role wrkadmin "$host" admin >/dev/null
    token="$(natterctl --json token_create wrkadmin "$host" | sed -n 's/.*"token": *"\([^"]*\)".*/\1/p')"
    wrk_swaps "$token" 2>"$scratch/wrk.curl" &
    swapping=$!
    started["$swapping"]=1
    WRK_HOST="$host" bounded $((WRK_SECONDS + 60)) wrk --threads 2 --connections 32 --duration "${WRK_SECONDS}s" --timeout 20s \
        --script "$here/wrk.lua" "http://127.0.0.1:$http" >"$scratch/wrk.out" 2>&1 || status=$?
    if ! kill -0 "$swapping" 2>/dev/null; then
        cat "$scratch/wrk.curl" >>"$scratch/wrk.out"
        status=1
    fi
    end "$swapping"
    natterctl module_stop --transient "$host" mod_host_meta >/dev/null 2>&1 || true
    say "$(cat "$scratch/wrk.swaps") swaps; $(grep '^judged' "$scratch/wrk.out" || echo 'nothing judged')"
    if [ "$status" = 0 ] && [ "$(cat "$scratch/wrk.swaps")" -ge "$WRK_SECONDS" ] &&
        grep -q '^judged .* wrong 0 lost 0$' "$scratch/wrk.out" && ! grep -qE ' (there|gone) 0 ' "$scratch/wrk.out"; then
        pass "wrk: no wrong answer while paths come and go"
    else
        fail "wrk" "$scratch/wrk.out"
    fi
}

if ! need wrk wrk; then
    skip "wrk cannot be installed here (a Debian package)"
elif ! need curl curl; then
    skip "curl cannot be installed here (a Debian package)"
elif [ -z "${http:-}" ]; then
    skip "wrk needs a listener of HTTP without TLS"
else
    wrk_run
fi
