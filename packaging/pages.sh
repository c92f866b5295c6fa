#!/usr/bin/env bash
# Prints man pages and shell completions: pages.sh NATTERD MAN-FOLDER SHARE-FOLDER.
set -euo pipefail
natterd="$1" man="$2" share="$3"

print() { # name, file
    mkdir -p "$(dirname "$2")"
    "$natterd" --print-doc "$1" >"$2"
}
for program in natterd natterctl; do
    print "$program.8" "$man/$program.8"
    print "$program.bash" "$share/bash-completion/completions/$program"
    print "$program.zsh" "$share/zsh/vendor-completions/_$program"
    print "$program.fish" "$share/fish/vendor_completions.d/$program.fish"
done
