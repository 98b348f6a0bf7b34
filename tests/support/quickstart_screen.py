#!/usr/bin/env python3
"""What conf/quickstart shows at the end.

quickstart_screen.py marks FILE NUMBER   lines for loadclient's marks file, from the events of one `upgrade --json`
quickstart_screen.py screen ROOT STATUS  the screen; STATUS is processlogs' exit status
Exit status of screen: 0 no failure, no line missing or twice, every rotated segment processed; 1 otherwise.
"""

import glob
import json
import os
import re
import sys
import textwrap
import time

RID = re.compile(rb"[?&]rid=([^ &\"]+)")


def events(path):
    """The JSON objects of a file, one a line; a line that is none (cut by a crash) is left out."""
    found = []
    with open(path) as lines:
        for line in lines:
            try:
                found.append(json.loads(line))
            except ValueError:
                pass
    return [e for e in found if isinstance(e, dict)]


def marks(path, number):
    for event in events(path):
        if event.get("event") == "step" and event.get("step") in ("switched", "draining"):
            print(f"{event['at']:.3f} {event['step']} {number} {event['elapsed_ms']}")


def segments(root):
    return sorted(p for p in glob.glob(os.path.join(root, "logs", "access.log.*")) if os.path.isfile(p))


def logged(root):
    """How often each rid is in the access logs."""
    count = {}
    for path in segments(root):
        with open(path, "rb") as log:
            for line in log:
                match = RID.search(line)
                if match:
                    count[match.group(1)] = count.get(match.group(1), 0) + 1
    return count


def join(root):
    """(answered, logged, missing, twice) of the rids; the log programs get a moment to write what is in their pipes."""
    with open(os.path.join(root, "answered"), "rb") as file:
        answered = file.read().split()
    deadline = time.monotonic() + 3
    while True:
        count = logged(root)
        missing = sum(1 for rid in answered if rid not in count)
        if missing == 0 or time.monotonic() > deadline:
            break
        time.sleep(0.1)
    twice = sum(1 for rid in answered if count.get(rid, 0) > 1)
    return len(answered), len(answered) - missing, missing, twice


def screen(root, process_status):
    with open(os.path.join(root, "report.json")) as file:
        report = json.load(file)
    print()
    print(f"requests   {report['requests']:,} in {report['seconds']:.1f} s, {report['answered']:,} answered, "
          f"{report['failed']:,} failures")
    kinds = ", ".join(f"{kind.replace('_', ' ')} {n}" for kind, n in report["failures"].items())
    print("\n".join(textwrap.wrap(kinds, 106, initial_indent="failures   ", subsequent_indent=" " * 11)))
    print()
    print(f"{'client':<10}{'connections':>12}{'requests':>10}{'answered':>10}{'failures':>10}"
          f"{'p50 ms':>10}{'p99.9 ms':>10}{'max ms':>10}")
    for kind, k in report["kinds"].items():
        first = k["first_byte_ms"]
        print(f"{kind:<10}{k['connections']:>12,}{k['requests']:>10,}{k['answered']:>10,}"
              f"{sum(k['failures'].values()):>10,}{first['p50']:>10.2f}{first['p999']:>10.2f}{first['max']:>10.2f}")
    print()
    print(f"{'upgrade':<10}{'to switched':>14}{'longest at switch':>20}{'longest at handover':>22}{'failures':>10}")
    rows, quiet = {}, None
    for mark in report["marks"]:
        word, *rest = mark["label"].split()
        if word == "quiet":
            quiet = mark
        elif len(rest) == 2:
            rows.setdefault(int(rest[0]), {})[word] = (mark, int(rest[1]))
    for number, row in sorted(rows.items()):
        switched, draining = row.get("switched"), row.get("draining")
        moments = [m[0]["at"] for m in row.values()]
        failures = sum(1 for note in report["notes"]
                       if min(moments) - report["window_s"] <= note["at"] <= max(moments) + report["window_s"])
        print(f"{number:<10}{str(switched[1]) + ' ms' if switched else '-':>14}"
              f"{format(switched[0]['worst_ms'], '.1f') + ' ms' if switched else '-':>20}"
              f"{format(draining[0]['worst_ms'], '.1f') + ' ms' if draining else '-':>22}"
              f"{failures:>10}")
    if quiet:
        print(f"{'none':<10}{'':>14}{format(quiet['worst_ms'], '.1f') + ' ms':>20}{'':>22}{quiet['failures']:>10}"
              "   (the same load, no upgrade)")
    print()
    answered, found, missing, twice = join(root)
    print(f"log lines  {found:,} logged for {answered:,} answered requests: {missing:,} missing, {twice:,} twice")
    rotated = segments(root)[:-1]  # names end in the start of their interval: the last is being written
    done = sum(1 for p in rotated if os.path.exists(os.path.join(root, "out", os.path.basename(p) + ".out")))
    print(f"segments   {len(rotated)} rotated, {done} processed, {len(segments(root)) - len(rotated)} current")
    good = (report["failed"] == 0 and report["answered"] > 0 and missing == 0 and twice == 0
            and done == len(rotated) and process_status == 0)
    for note in report["notes"][:5]:
        print(f"  {note['client']} {note['rid']} {note['failure']}: {note['detail']}")
    print()
    print("Nobody noticed." if good else "NOT as promised.")
    return 0 if good else 1


if __name__ == "__main__":
    if len(sys.argv) != 4 or sys.argv[1] not in ("marks", "screen"):
        sys.exit(__doc__)
    if sys.argv[1] == "marks":
        marks(sys.argv[2], sys.argv[3])
    else:
        sys.exit(screen(sys.argv[2], int(sys.argv[3])))
