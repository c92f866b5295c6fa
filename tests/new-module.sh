#!/usr/bin/env bash
# Begins a module: its file, its line in the list, its scenario, its line in the changelog.
set -euo pipefail
cd "$(dirname "$0")/.."

name="${1:-}"
if ! [[ "$name" =~ ^mod_[a-z][a-z0-9_]*$ ]]; then
    echo "new-module: say what it is called: make new-module NAME=mod_x (small letters, digits, underscores)" >&2
    exit 2
fi
file="crates/modules/src/$name.rs"
list="crates/modules/src/lib.rs"
scenario="tests/scenarios/modules/$name.txt"
for path in "$file" "$scenario"; do
    if [ -e "$path" ]; then
        echo "new-module: $path is there already" >&2
        exit 1
    fi
done
for path in "$list" CHANGELOG.md; do
    if ! [ -f "$path" ]; then
        echo "new-module: $path is missing" >&2
        exit 1
    fi
done

# mod_last_seen becomes ModLastSeen, urn:natter:last_seen its namespace until a specification gives one.
type="$(awk -F_ '{ for (i = 1; i <= NF; i++) printf "%s%s", toupper(substr($i, 1, 1)), substr($i, 2) }' <<<"$name")"
fill() { sed -e "s/@NAME@/$name/g" -e "s/@TYPE@/$type/g" -e "s/@WORD@/${name#mod_}/g" "$1"; }

mkdir -p "$(dirname "$scenario")"
fill tests/templates/module.rs.in >"$file"
fill tests/templates/scenario.txt.in >"$scenario"

# The list: one `mod` line and one line of ALL, each in the place the alphabet gives it.
awk -v name="$name" -v type="$type" '
    function declare() { print "mod " name ";"; declared = 1 }
    function list() { print "    kind::<" name "::" type ">(),"; listed = 1 }
    !declared && /^mod mod_/ && $2 > (name ";") { declare() }
    !declared && was_mod && !/^mod mod_/ { declare() }
    !listed && /^ *kind::<mod_/ { split($0, part, /[<:]+/); if (part[2] > name) list() }
    !listed && was_kind && !/^ *kind::</ { list() }
    { print; was_mod = /^mod mod_/; was_kind = /^ *kind::</ }
    END { if (!declared || !listed) exit 3 }
' "$list" >"$list.new" || {
    rm -f "$list.new" "$file" "$scenario"
    echo "new-module: $list has no list of modules to add to" >&2
    exit 1
}
mv "$list.new" "$list"

# The changelog: the last line of the first "Added".
awk -v name="$name" '
    function add() { print "- `" name "`: what an operator gains by it."; done = 1 }
    !done && was_entry && in_added && !/^[-] / && !/^ / { add() }
    { print }
    /^#+ +Added/ { in_added = 1 }
    { was_entry = /^[-] / || (was_entry && /^ /) }
    END { if (!done && in_added && was_entry) add(); if (!done) exit 3 }
' CHANGELOG.md >CHANGELOG.md.new || {
    rm -f CHANGELOG.md.new
    echo "new-module: CHANGELOG.md has no entries under \"Added\"; add the line yourself" >&2
    exit 1
}
mv CHANGELOG.md.new CHANGELOG.md

echo "$file       what it does"
echo "$scenario   what it must show"
echo "$list       where it is listed"
echo "CHANGELOG.md       what operators read"
echo "Next: make test, or: cargo test --package tests --test scenarios -- $name"
