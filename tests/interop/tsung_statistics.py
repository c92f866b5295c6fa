"""Judges what tsung counted: tsung_statistics.py TSUNG_LOG PEOPLE.

The log is written anew every few seconds; what counts is the last total of each statistic.
"""

import sys

# How often each thing happens for one person: tsung.xml says the same.
EACH = {
    "users_count": 1,
    "finish_users_count": 1,
    "session": 1,
    "tr_tls": 1,
    "tr_authenticate": 1,
    "tr_roster": 1,
    "tr_online": 1,
    "tr_offline": 1,
    "tr_close": 1,
    "match": 7,
}


def main():
    path, people = sys.argv[1], int(sys.argv[2])
    totals = {}
    ended = False
    with open(path, encoding="utf-8") as file:
        for line in file:
            ended = line.startswith("EndMonitor")
            words = line.split()
            if len(words) > 2 and words[0] == "stats:" and not words[1].startswith("{"):
                # Samples end with mean and count of all before; counters with their total.
                totals[words[1]] = words[2:]
    wrong = [] if ended else ["the log has no end"]

    def total(name):
        values = totals.get(name)
        if values is None:
            return 0
        if len(values) < 3:
            return int(values[-1])
        # count, mean, deviation, max, min, mean before, count before: the last is that before this interval.
        return int(values[0]) + int(values[-1])

    for name, times in EACH.items():
        if total(name) != people * times:
            wrong.append(f"{name}: {total(name)}, not {people * times}")
    for name in totals:
        if name.startswith("error") or name == "nomatch":
            wrong.append(f"{name}: {total(name)}")
    if totals.get("connected", ["", "?"])[-1] != "0":
        wrong.append(f"still connected: {totals.get('connected')}")
    for line in wrong:
        print(line)
    print(f"{total('finish_users_count')} people finished, {total('match')} answers as awaited")
    sys.exit(1 if wrong else 0)


main()
