#!/usr/bin/env bash
# All tests. Every test program says how many of its kind ran; here they are said again, together, at the end.
set -euo pipefail
cd "$(dirname "$0")/.."

printed="$(mktemp)"
trap 'rm -f "$printed"' EXIT

status=0
"${CARGO:-cargo}" test --workspace --no-fail-fast "$@" 2>&1 | tee "$printed" || status=$?

# One line a kind: "natter: 84 scenarios ran, 0 failed, 1 skipped"; the rest of cargo's tests by their own lines.
echo
echo "What ran:"
sed -n 's/^natter: /  /p' "$printed"
awk '/^test result: / { passed += $4; failed += $6; ignored += $8 }
     END { printf "  %d tests in all passed, %d failed, %d ignored\n", passed, failed, ignored }' "$printed"
if [ "$status" != 0 ]; then
    echo "  FAILED: the lines above say which"
fi
exit "$status"
