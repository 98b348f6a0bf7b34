#!/usr/bin/env python3
"""tests/bench/compare on a small scale: its table, JSON, chart and goals are whole. compare_test.py BUILD-TREE"""

import json
import os
import subprocess
import sys
import tempfile
import unittest
import xml.etree.ElementTree

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)

from comparing import measuring, report, rows, servers  # noqa: E402

BUILD = ""


def compare(*arguments):
    return subprocess.run([HERE + "/compare", "--build", BUILD, *arguments], stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=100)


def measured(**figures):
    """A server's figures: every value is given as a list with the value of each round."""
    return measuring.summarise([dict(zip(figures, values)) for values in zip(*figures.values())])


def row(key, **of_servers):
    of = rows.BY_KEY[key]
    return {"title": of.title, "load": of.load, "variant": of.variant, "against": of.against, "left_out": {},
            "servers": {name.replace("_off", measuring.OFF): figures for name, figures in of_servers.items()}}


class Compare(unittest.TestCase):
    def test_measures_ours_and_the_floor_and_says_what_is_not_available(self):
        with tempfile.TemporaryDirectory() as scratch:
            os.chmod(scratch, 0o755)  # the servers give up their rights
            files = scratch + "/results.json", scratch + "/chart.svg"
            done = compare("--servers", "ours,floor", "--rows", "1k-64,logging,tls-bulk", "--runs", "2",
                           "--duration", "0.2", "--warm-up", "0.1", "--dir", scratch, "--json", files[0],
                           "--svg", files[1])
            self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
            with open(files[0]) as f:
                results = json.load(f)
            chart = xml.etree.ElementTree.parse(files[1]).getroot()
            self.assertEqual(sorted(os.listdir(scratch)), ["chart.svg", "results.json"])

        of_rows = results["rows"]
        self.assertEqual(list(of_rows), ["1k-64", "logging", "tls-bulk"])
        for key, names in (("1k-64", {"ours", "floor"}), ("logging", {"ours", "ours, no log"})):
            self.assertEqual(set(of_rows[key]["servers"]), names)
            for figures in of_rows[key]["servers"].values():
                self.assertEqual(len(figures["runs"]), 8 if key == "1k-64" else 2)
                self.assertGreater(figures["cpu_us"], 0)
                self.assertGreater(figures["rps"], 0)
                self.assertGreaterEqual(figures["p99_us"], figures["p50_us"])
        self.assertGreater(of_rows["1k-64"]["servers"]["ours"]["log_us"], 0)
        self.assertEqual(of_rows["logging"]["servers"]["ours, no log"]["log_us"], 0)
        calls = of_rows["1k-64"]["servers"]["ours"]["calls"]
        if calls:  # a container may forbid strace
            self.assertGreaterEqual(calls["total"], 2)
        if "not available" not in of_rows["tls-bulk"]["left_out"].get("ours", ""):
            self.assertIn("ours", of_rows["tls-bulk"]["servers"])

        verdicts = {(goal["row"], goal["goal"]): goal["verdict"] for goal in results["goals"]}
        self.assertIn(verdicts[("1k-64", "CPU per request at most 1.35 of floor")], ("met", "missed"))
        self.assertEqual(verdicts[("1k-64", "CPU per request at most 0.80 of best peer")], "not measured")

        lines = done.stdout.splitlines()
        heading = lines[lines.index("1 KiB, keep-alive, 64 connections") + 1]
        line = next(line for line in lines[lines.index(heading):] if line.startswith("  Baton  "))
        self.assertEqual(heading.split()[:2], ["CPU", "us"])
        self.assertGreater(float(line.split()[1]), 0)
        self.assertEqual(len(line.split()), 10)
        self.assertIn("Goals", lines)
        self.assertTrue(chart.tag.endswith("svg"))
        self.assertGreaterEqual(sum(element.tag.endswith("rect") for element in chart.iter()), 2)

    def test_standard_output_is_json_alone_when_asked_for(self):
        done = compare("--quick", "--servers", "ours", "--rows", "304", "--runs", "1", "--duration", "0.2",
                       "--json", "-")
        self.assertEqual(done.returncode, 0, done.stderr)
        self.assertGreater(json.loads(done.stdout)["rows"]["304"]["servers"]["ours"]["requests"], 0)

    def test_what_it_does_not_know_is_a_usage_error_that_names_it(self):
        for arguments, said in ((["--rows", "nope"], "no row nope"), (["--servers", "iis"], "no server iis"),
                                (["--runs", "0"], "--runs"), (["--duration", "0"], "--duration")):
            done = compare(*arguments)
            self.assertEqual(done.returncode, 2, done.stdout)
            self.assertIn(said, done.stderr)


class Goals(unittest.TestCase):
    def verdicts(self, results):
        return {goal["goal"]: goal["verdict"] for goal in report.judge(results)}

    def test_ratios_are_those_of_the_medians_to_the_best_peer(self):
        results = {"1k-64": row("1k-64", ours=measured(cpu_us=[6, 12], rps=[10, 5], p99_us=[9, 9]),
                                nginx=measured(cpu_us=[8, 16], rps=[9, 4], p99_us=[9, 9]),
                                caddy=measured(cpu_us=[60, 120], rps=[1, 1], p99_us=[90, 90]),
                                floor=measured(cpu_us=[4, 8], rps=[20, 10], p99_us=[1, 1]))}
        judged = {goal["goal"]: goal for goal in report.judge(results)}
        cpu = judged["CPU per request at most 0.80 of best peer"]
        self.assertEqual((cpu["value"], cpu["against"], cpu["verdict"]), (0.75, "nginx", "met"))
        self.assertEqual(judged["CPU per request at most 1.35 of floor"]["verdict"], "missed")
        self.assertEqual(judged["requests/s at least 1.15 of best peer"]["verdict"], "met")
        self.assertEqual(judged["p99 at most 1.00 of best peer"]["verdict"], "met")

    def test_logging_is_on_over_off_and_memory_is_bytes(self):
        results = {"logging": row("logging", ours=measured(cpu_us=[11, 11]), ours_off=measured(cpu_us=[10, 10])),
                   "memory": row("memory", ours=measured(bytes=[1024]))}
        self.assertEqual(self.verdicts(results), {"CPU per request at most 1.08 of log off": "missed",
                                                  "bytes per connection at most 1,024": "met"})

    def test_what_could_not_be_measured_is_neither_met_nor_missed(self):
        self.assertEqual(self.verdicts({"proxied": row("proxied", nginx=measured(cpu_us=[9]))}),
                         {"CPU per request at most 1.00 of best peer": "not measured"})


class Parts(unittest.TestCase):
    def test_calls_are_read_from_a_summary_of_strace_with_and_without_errors(self):
        text = ("% time     seconds  usecs/call     calls    errors syscall\n"
                "------ ----------- ----------- --------- --------- ----------------\n"
                " 60.00    0.000600           1       600           sendto\n"
                " 40.00    0.000400           1       610        10 recvfrom\n"
                "------ ----------- ----------- --------- --------- ----------------\n"
                "100.00    0.001000           1      1210        10 total\n")
        self.assertEqual(measuring.read_strace(text), {"sendto": 600, "recvfrom": 610})

    def test_every_goal_and_every_variant_has_its_row(self):
        self.assertLessEqual({goal.row for goal in rows.GOALS}, set(rows.BY_KEY))
        self.assertLessEqual({r.variant for r in rows.ROWS}, set(servers.VARIANTS))


if __name__ == "__main__":
    BUILD = sys.argv.pop(1)
    unittest.main()
