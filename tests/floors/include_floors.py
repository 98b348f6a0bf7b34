#!/usr/bin/env python3
"""Checks that the includes of the tree go downwards only (DESIGN section 6, style.md section 2).

    include_floors.py ROOT          checks a tree; one line per violation, exit status 1 if there is any
    include_floors.py --self-test   plants one violation of every kind in a scratch tree and expects to find each
"""
import os
import re
import sys
import tempfile

INCLUDE = re.compile(r'^\s*#\s*include\s*([<"])([^>"]+)[>"]')
PROGRAMS = ("httpd", "orchestrator", "rotatelogs")
SKIPPED = {".git", "build", "conf", "man", "node_modules"}
MAIN_LINES = 80

# httpd, floor 3: who may include whom, from bottom to top. Files directly in httpd/ are its top.
HTTPD_ORDER = ["log", "net", "modules", "process"]
# orchestrator and rotatelogs: first words of the file names on floor 2; everything else is floor 3.
FLOOR_TWO_FILES = {"orchestrator": ("plan",), "rotatelogs": ("policy", "names")}

# Floor 2 asks the kernel for nothing: standard C++ and C headers, processor intrinsics, and inet_pton(3)/inet_ntop(3),
# which turn text into values and back without a system call.
NO_SYSTEM_CALLS = {"arpa/inet.h", "emmintrin.h", "immintrin.h", "smmintrin.h", "tmmintrin.h", "nmmintrin.h",
                   "assert.h", "ctype.h", "errno.h", "float.h", "inttypes.h", "limits.h", "locale.h", "math.h",
                   "stddef.h", "stdint.h", "stdio.h", "stdlib.h", "string.h", "strings.h", "wchar.h"}
THIRD_PARTY = ("Poco/", "cxxopts")


def is_floor_two_file(program, name):
    stem = os.path.splitext(os.path.basename(name))[0]
    return any(stem == word or stem.startswith(word + "_") for word in FLOOR_TWO_FILES[program])


def place(path):
    """(program or library, floor, order within the floor); None for what is no source of a floor."""
    parts = path.split("/")
    top = parts[0]
    if top == "os":
        return ("os", 0, 0)
    if top == "handover":
        return ("handover", 1, 0)
    if top not in PROGRAMS:
        return None
    if os.path.basename(path) in ("main.cc", "main.h") or re.fullmatch(r"\w+_main\.cc", parts[-1]):
        return (top, 4, 0)
    if top == "httpd":
        folder = parts[1] if len(parts) > 2 else ""
        if folder in ("config", "http", "lifecycle"):
            return (top, 2, 0)
        return (top, 3, HTTPD_ORDER.index(folder) if folder in HTTPD_ORDER else len(HTTPD_ORDER))
    return (top, 2 if is_floor_two_file(top, path) else 3, 0)


def check_include(path, kind, included):
    """What is wrong with this include, or None."""
    here = place(path)
    there = place(included) if kind == '"' else None
    if path.startswith("tests/e2e/"):
        return "tests/e2e runs the programs and includes none of their code" if there and there[1] >= 2 else None
    if here is None:
        return None
    name, floor, order = here
    third_party = included.startswith(THIRD_PARTY)
    if floor <= 1 and third_party:
        return f"{name}/ sees the standard library and POSIX only"
    if floor == 2:
        if there and there[0] == "os" and included not in ("os/error.h", "os/clock.h"):
            return "floor 2 takes from os/ only error.h and clock.h"
        if there and there[0] == "handover":
            return "floor 2 takes from os/ only error.h and clock.h, and nothing from handover/"
        if third_party:
            return "Poco and cxxopts appear from floor 3 up"
        if kind == "<" and included not in NO_SYSTEM_CALLS and ("/" in included or included.endswith(".h")):
            return "floor 2 asks neither the system nor a library for anything"
    if kind != '"':
        return None
    if included.startswith("tests/"):
        return "a program includes nothing from tests/"
    if there is None:
        return "an include in quotes names a file of this tree from its root" if "/" not in included else None
    if there[0] in PROGRAMS and there[0] != name and name in PROGRAMS:
        return "a program never includes another program's files"
    if there[1] > floor:
        return f"floor {floor} includes floor {there[1]}"
    if floor == there[1] == 3 and name == "httpd" and there[2] > order:
        return "httpd: log < net < modules < process < main"
    return None


def sources(root):
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(f for f in folders if f not in SKIPPED)
        for name in sorted(files):
            if name.endswith((".h", ".cc")):
                yield os.path.relpath(os.path.join(folder, name), root)


def check_tree(root):
    found = []
    count = 0
    for path in sources(root):
        count += 1
        with open(os.path.join(root, path), encoding="utf-8", errors="replace") as file:
            lines = file.read().splitlines()
        here = place(path)
        if here and here[1] == 4 and len(lines) >= MAIN_LINES:
            found.append(f"{path}:{len(lines)}: main has {len(lines)} lines, allowed are fewer than {MAIN_LINES}")
        for number, line in enumerate(lines, 1):
            match = INCLUDE.match(line)
            why = match and check_include(path, match[1], match[2])
            if why:
                found.append(f'{path}:{number}: includes {match[2]}: {why}')
    return count, found


VIOLATIONS = {
    "os/up.h": '#include "handover/message.h"',
    "os/poco.cc": "#include <Poco/Exception.h>",
    "os/options.cc": "#include <cxxopts.hpp>",
    "handover/up.cc": '#include "httpd/http/request.h"',
    "handover/poco.cc": "#include <Poco/Net/Socket.h>",
    "httpd/http/fd.h": '#include "os/fd.h"',
    "httpd/http/control.h": '#include "handover/message.h"',
    "httpd/config/poco.cc": "#include <Poco/Glob.h>",
    "httpd/config/kernel.cc": "#include <unistd.h>",
    "httpd/config/kernel2.cc": "  #  include <sys/stat.h>",
    "httpd/lifecycle/up.h": '#include "httpd/net/connection.h"',
    "httpd/log/up.h": '#include "httpd/net/connection.h"',
    "httpd/net/up.h": '#include "httpd/modules/cgi.h"',
    "httpd/modules/up.h": '#include "httpd/process/parent.h"',
    "httpd/process/main.h.h": '#include "httpd/main.h"',
    "httpd/process/program.cc": '#include "rotatelogs/policy.h"',
    "httpd/process/bare.cc": '#include "parent.h"',
    "httpd/process/test.cc": '#include "tests/support/fake_clock.h"',
    "orchestrator/plan.h": '#include "orchestrator/upgrade.h"',
    "orchestrator/plan_text.cc": "#include <fcntl.h>",
    "orchestrator/upgrade.cc": '#include "httpd/config/reader.h"',
    "rotatelogs/names.cc": '#include "rotatelogs/writer.h"',
    "rotatelogs/policy.cc": '#include "os/file.h"',
    "httpd/main.cc": "\n" * 79,
    "tests/e2e/upgrade_test.cc": '#include "httpd/net/connection.h"',
}
ALLOWED = {
    "os/file.cc": '#include <fcntl.h>\n#include "os/fd.h"',
    "handover/readiness.cc": '#include "os/socket.h"\n#include <sys/un.h>',
    "httpd/http/values.cc": '#include "httpd/config/server_config.h"\n#include "os/error.h"\n#include "os/clock.h"\n'
                            '#include <string>\n#include <cstring>\n#include <stdint.h>\n#include <arpa/inet.h>\n#include <emmintrin.h>',
    "httpd/net/loop.cc": '#include "httpd/log/writer.h"\n#include "httpd/http/request.h"\n#include <Poco/Exception.h>',
    "httpd/process/parent.cc": '#include "httpd/modules/cgi.h"\n#include "handover/message.h"\n// #include "rotatelogs/x.h"',
    "orchestrator/main.cc": '#include "orchestrator/upgrade.h"\n#include <cxxopts.hpp>\n' + "\n" * 70,
    "rotatelogs/planner.cc": '#include "rotatelogs/names.h"\n#include "os/file.h"\n#include <unistd.h>',
    "tests/httpd/net/loop_test.cc": '#include "httpd/process/parent.h"\n#include "tests/support/fake_clock.h"',
    "tests/e2e/server.cc": '#include "os/process.h"\n#include "tests/e2e/server.h"\n#include <Poco/Net/HTTPClientSession.h>',
}


def self_test():
    failures = []
    for planted, expect in ((VIOLATIONS, True), (ALLOWED, False)):
        for path, text in planted.items():
            with tempfile.TemporaryDirectory() as root:
                target = os.path.join(root, path)
                os.makedirs(os.path.dirname(target))
                with open(target, "w", encoding="utf-8") as file:
                    file.write(text + "\n")
                _, found = check_tree(root)
            if bool(found) != expect:
                failures.append(f"{path}: {'not found' if expect else 'wrongly found: ' + '; '.join(found)}")
    for failure in failures:
        print("self-test: " + failure)
    print(f"self-test: {len(VIOLATIONS)} planted violations, {len(ALLOWED)} allowed files, {len(failures)} mistakes")
    return 1 if failures else 0


def main(arguments):
    if arguments == ["--self-test"]:
        return self_test()
    if len(arguments) != 1 or not os.path.isdir(arguments[0]):
        print(__doc__)
        return 2
    count, found = check_tree(arguments[0])
    for line in found:
        print(line)
    print(f"{count} files, {len(found)} violations")
    return 1 if found or count == 0 else 0


sys.exit(main(sys.argv[1:]))
