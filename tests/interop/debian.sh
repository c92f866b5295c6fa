# The Debian package: built, installed, started as its own user, removed without its data, purged with them.

if [ -n "${INTEROP_HOST:-}" ]; then
    :
elif [ "$(id -u)" != 0 ] || ! command -v dpkg-deb >/dev/null || ! command -v runuser >/dev/null; then
    skip "the Debian package needs root and dpkg"
elif getent passwd natter >/dev/null || [ -e /etc/natter ] || dpkg -s natter >/dev/null 2>&1; then
    skip "a natter is installed here already; it is not touched"
elif ! packaging/deb.sh "$target" "$scratch/debian" >"$scratch/deb" 2>&1; then
    fail "the Debian package is not built" "$scratch/deb"
else
    installed() {
        dpkg --install "$(tail -n 1 "$scratch/deb")" &&
            natterd --check --config /etc/natter/natter.toml &&
            [ "$(stat -c '%U %a' /var/lib/natter)" = "natter 700" ] &&
            [ -s /usr/share/man/man8/natterctl.8.gz ] &&
            runuser -u natter -- natterd --check &&
            runuser -u natter -- touch /var/lib/natter/kept
    }
    gone() {
        dpkg --remove natter && [ ! -e /usr/bin/natterd ] && [ -e /var/lib/natter/kept ] && [ -e /etc/natter/natter.toml ] &&
            dpkg --purge natter && [ ! -e /var/lib/natter ] && [ ! -e /etc/natter ] && ! getent passwd natter
    }
    unit_is_good() { # Nothing that systemd does not know, no file that is missing.
        systemd-analyze --man=no verify natter.service
    }
    if installed >"$scratch/dpkg" 2>&1; then pass "the Debian package is installed"; else fail "the Debian package" "$scratch/dpkg"; fi
    if ! command -v systemd-analyze >/dev/null; then
        skip "no systemd-analyze to look at the unit with"
    elif unit_is_good >"$scratch/unit" 2>&1; then
        pass "systemd takes the unit"
    else
        fail "systemd does not take the unit" "$scratch/unit"
    fi
    if gone >"$scratch/dpkg" 2>&1; then pass "the Debian package is removed and purged"; else fail "the Debian package stays" "$scratch/dpkg"; fi
fi
