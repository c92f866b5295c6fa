# Smack (Maven, into .interop/; Java and Maven of Debian): what Android's clients do. smack/ holds pom.xml and program.

export FRANK_PASSWORD="frank's secret" GRACE_PASSWORD="grace's secret"

# What has been fetched once is built without the network.
smack_built() {
    local offline
    for offline in --offline ""; do
        if bounded 300 mvn --quiet --batch-mode ${offline:+"$offline"} --file "$here/smack/pom.xml" \
            -Dmaven.repo.local="$kept/m2" compile >"$scratch/mvn" 2>&1 </dev/null; then
            return
        fi
    done
    return 1
}
people() { # authority, port, options
    bounded 120 java -Dfile.encoding=UTF-8 -cp "$kept/smack/classes:$kept/smack/jars/*" \
        People "$host" "$address" "$2" "$1" "${@:3}" </dev/null
}
smack() {
    local option=() expected=5 seen version
    version="$(cd "$kept/smack/jars" && echo smack-tcp-*.jar)"
    version="${version#smack-tcp-}"
    say "Smack ${version%.jar}"
    register frank "$host" "$FRANK_PASSWORD"
    register grace "$host" "$GRACE_PASSWORD"
    if people "$scratch/wrong.pem" "$port" >"$scratch/refused" 2>&1; then
        fail "Smack accepted a wrong authority" "$scratch/refused"
    elif grep -q 'PKIX path' "$scratch/refused" && ! grep -q '^ok: ' "$scratch/refused"; then
        pass "Smack refuses a wrong authority"
    else
        fail "Smack failed, but not for the certificate" "$scratch/refused"
    fi
    if [ -n "$server" ]; then
        natterctl set_role frank "$host" host-admin
        option=(administers)
        expected=$((expected + 3))
    fi
    expected=$((expected + 1)) # the line of the login
    if ! people "$ca" "$port" "${option[@]}" >"$scratch/people" 2>&1; then
        fail "Smack" "$scratch/people"
        return
    fi
    seen="$(grep -c '^ok: ' "$scratch/people")"
    if [ "$seen" = "$expected" ] && [ "$(tail -n 1 "$scratch/people")" = done ]; then
        sed 's/^/    /' "$scratch/people"
        pass "Smack: roster, chat, vCard, blocking, commands"
    else
        fail "Smack: $expected things to see, $seen seen" "$scratch/people"
    fi
}

if ! { need javac default-jdk-headless && need java default-jre-headless && need mvn maven; }; then
    skip "Smack needs a JDK and Maven, which cannot be installed here (Debian packages)"
elif ! smack_built; then
    if [ -d "$kept/smack/jars" ]; then
        fail "Smack: the program cannot be built" "$scratch/mvn"
    else
        skip "Smack cannot be had from the Maven registry here"
    fi
else
    smack
fi
