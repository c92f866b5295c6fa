# testssl.sh (Debian): what both doors offer of TLS. It takes its time, so it looks while others talk, and is judged last.

declare -A scan=()

scan_begin() { # door, port, options
    begin 400 testssl --quiet --color 0 --warnings off --openssl-timeout 10 --nodns none --ip "$address" \
        --add-ca "$ca" --jsonfile "$scratch/tls-$1.json" --protocols --std --fs --server-defaults \
        --renegotiation --compression --heartbleed --ccs-injection --robot --poodle --freak \
        --logjam --drown --beast --lucky13 --rc4 --sweet32 "${@:3}" "$host:$2" >"$scratch/tls-$1" 2>&1 </dev/null
    scan["$1"]="$begun"
}

scan_judge() {
    local door status
    for door in "${!scan[@]}"; do
        status=0
        ended "${scan[$door]}" || status=$?
        # What it returns counts findings; 124 and 137 are the deadline's.
        if [ "$status" = 124 ] || [ "$status" = 137 ]; then
            fail "testssl ($door) does not come to its end" "$scratch/tls-$door"
        elif python3 "$here/tls_findings.py" "$scratch/tls-$door.json" "$host" >"$scratch/tls-$door.judged" 2>&1; then
            sed 's/^/    /' "$scratch/tls-$door.judged"
            pass "testssl finds nothing wrong ($door)"
        else
            fail "testssl ($door)" "$scratch/tls-$door.judged"
        fi
    done
}

if ! need testssl testssl.sh; then
    skip "testssl.sh cannot be installed here (a Debian package)"
else
    say "testssl.sh $(sed -n 's/^declare -r.* VERSION="\(.*\)"$/\1/p' "$(command -v testssl)")"
    scan_begin starttls "$port" --starttls xmpp --xmpphost "$host"
    scan_begin direct "$direct"
    later+=(scan_judge)
fi
