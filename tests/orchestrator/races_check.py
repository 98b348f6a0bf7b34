#!/usr/bin/env python3
"""Every race of races.md has a test that exists, or is named as a limit. Usage: races_check.py SOURCE_DIR"""
import pathlib
import re
import sys

source = pathlib.Path(sys.argv[1])
tests = set()
for path in (source / "tests").rglob("*_test.cc"):
    for suite, name in re.findall(r"^TEST(?:_F|_P)?\(\s*(\w+),\s*(\w+)\)", path.read_text(), re.M):
        tests.add(f"{suite}.{name}")

problems = []
numbers = []
for line in (source / "tests/orchestrator/races.md").read_text().splitlines():
    row = re.match(r"\| (\d+) \|", line)
    if not row:
        continue
    number = int(row.group(1))
    numbers.append(number)
    names = re.findall(r"`(\w+\.\w+)`", line)
    problems += [f"race {number}: there is no test {name}" for name in names if name not in tests]
    if not names and "*Limit*" not in line:
        problems.append(f"race {number} has neither a test nor a limit")
if numbers != list(range(1, 38)):
    problems.append(f"rows are {numbers}, not 1 to 37")
for problem in problems:
    print(problem)
sys.exit(1 if problems else 0)
