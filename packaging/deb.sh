#!/usr/bin/env bash
# Builds a Debian package of the programs in a folder (default: those of `cargo build --release`): deb.sh [FOLDER [OUT]].
# Needs dpkg-deb alone.
set -euo pipefail
cd "$(dirname "$0")/.."

from="${1:-${CARGO_TARGET_DIR:-target}/release}"
out="${2:-${CARGO_TARGET_DIR:-target}/debian}"
version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)"
architecture="$(dpkg --print-architecture)"
root="$(mktemp -d)"
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"

install -D -m 755 "$from/natterd" "$root/usr/bin/natterd"
install -D -m 755 "$from/natterctl" "$root/usr/bin/natterctl"
if command -v strip >/dev/null; then strip --strip-unneeded "$root"/usr/bin/*; fi
install -D -m 644 packaging/natter.service "$root/lib/systemd/system/natter.service"
install -D -m 644 packaging/natter.toml "$root/etc/natter/natter.toml"
packaging/pages.sh "$from/natterd" "$root/usr/share/man/man8" "$root/usr/share"
gzip -9n "$root"/usr/share/man/man8/*.8
doc="$root/usr/share/doc/natter"
install -D -m 644 CHANGELOG.md "$doc/changelog.md"
install -m 644 docs/OPERATING.md docs/CONFIG.md docs/COMMANDS.md "$doc/"
cat LICENSE-MIT LICENSE-APACHE >"$doc/copyright"

mkdir "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: natter
Version: $version
Architecture: $architecture
Maintainer: The Natter developers <natter@localhost>
Section: net
Priority: optional
Depends: libc6 (>= 2.36), libgcc-s1, passwd
Installed-Size: $(du -sk "$root" | cut -f1)
Description: XMPP server in one program
 Serves chat by XMPP. Its data lie in one SQLite file; services are added to
 the running server.
CONTROL
echo /etc/natter/natter.toml >"$root/DEBIAN/conffiles"
install -m 755 packaging/debian/postinst packaging/debian/prerm packaging/debian/postrm "$root/DEBIAN/"

mkdir -p "$out"
dpkg-deb --root-owner-group --build "$root" "$out/natter_${version}_$architecture.deb" >/dev/null
echo "$out/natter_${version}_$architecture.deb"
