# profanity (Debian) in tmux: two people at their terminals, judged by what their screens show.
#
# Dave makes his account himself where the server is ours. Erin comes by direct TLS.

DAVE_PASSWORD="daves-secret" ERIN_PASSWORD="erins-secret"

. "$here/terminal.sh"

refuses() {
    open mallory "$scratch/wrong.pem"
    types mallory "/connect erin@$host server $address port $port tls force"
    sees mallory "Enter password:"
    types mallory "$ERIN_PASSWORD"
    sees mallory "Use '/tls deny' to reject this certificate"
    sees_not mallory "logged in"
    types mallory "/tls deny"
    sees mallory "Login failed"
    sees_not mallory "logged in"
}
registers() {
    open dave "$ca"
    types dave "/register dave $host port $port tls force"
    sees dave "Enter password:"
    types dave "$DAVE_PASSWORD"
    sees dave "Confirm password:"
    types dave "$DAVE_PASSWORD"
    sees dave "Registration successful."
    # This version of profanity takes no further connection after one that registered.
    terminal kill-session -t dave
}
chats() {
    local dave="dave@$host" erin="erin@$host"
    open dave "$ca" && connects dave "$DAVE_PASSWORD" "$port" force || return
    open erin "$ca" && connects erin "$ERIN_PASSWORD" "$direct" legacy || return
    seen "dave logs in by STARTTLS, erin by direct TLS"
    # What is typed is no message: an error that comes back is that of the words sent.
    types dave "/states off"

    types dave "/roster add $erin Erin"
    sees dave "Roster item added: $erin (Erin)" || return
    types dave "/sub request $erin"
    sees erin "Received authorization request from $dave" || return
    types erin "/sub allow $dave"
    sees dave "Subscription received from $erin" && sees dave "++ Erin" || return
    types erin "/sub request $dave"
    sees dave "Received authorization request from $erin" || return
    types dave "/sub allow $erin"
    sees erin "Subscription received from $dave" && sees erin "++ $dave" || return
    seen "both are contacts of each other and see each other online"

    types dave "/msg $erin hello from dave"
    sees erin "chat message: $dave" || return
    types erin "/msg $dave hello from erin"
    sees erin "hello from dave" && sees dave "hello from erin" || return
    seen "both hear each other"

    types erin "/blocked add $dave"
    types erin "/win 1"
    sees erin "User $dave successfully blocked." || return
    types dave "words for nobody"
    sees dave "Error from $erin: service-unavailable" || return
    types erin "/blocked remove $dave"
    sees erin "User $dave successfully unblocked." || return
    types dave "words for erin"
    types erin "/msg $dave"
    sees erin "words for erin" && sees erin "hello from dave" && sees_not erin "words for nobody" || return
    seen "erin blocks dave and does not hear him, then hears him again"
    types dave "/disconnect"
    sees dave "$dave logged out successfully" || return
    types erin "/win 1"
    sees erin "-- $dave" || return
    seen "erin sees dave go"
}
if ! have_terminal; then
    skip "profanity or tmux cannot be installed here (Debian packages)"
else
    say "$(profanity --version | head -n 1)"
    register erin "$host" "$ERIN_PASSWORD"
    play refuses "profanity refuses a wrong authority"
    if [ -n "$server" ]; then
        play registers "profanity registers an account"
    else
        register dave "$host" "$DAVE_PASSWORD"
    fi
    play chats "profanity: contacts, chat, block"
    end_terminals
fi
