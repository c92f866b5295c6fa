"""Judges what the Autobahn suite found: autobahn.py index.json"""

import collections
import json
import sys

# Text that is broken within one frame is failed when the frame is whole; the suite would see it failed at the byte.
LATE = {"6.4.3", "6.4.4"}
LEAST = 300

with open(sys.argv[1]) as file:
    cases = json.load(file)["httpd"]
counted = collections.Counter()
wrong = []
for number, found in sorted(cases.items()):
    behaviours = {found["behavior"], found["behaviorClose"]}
    counted[found["behavior"]] += 1
    good = {"OK", "INFORMATIONAL"} | ({"NON-STRICT"} if number in LATE else set())
    if not behaviours <= good:
        wrong.append(f"{number}: {found}")
print(", ".join(f"{count} {name}" for name, count in counted.items()))
print("\n".join(wrong))
sys.exit(1 if wrong or len(cases) < LEAST else 0)
