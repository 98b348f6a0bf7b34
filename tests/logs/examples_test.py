#!/usr/bin/env python3
"""conf/cron.d and conf/logrotate, by cron, GoAccess and logrotate of Debian. usage: examples_test.py BIN-DIRECTORY [TEST]

The files are used as they are: a mount namespace shows the paths that they name. Only the time in the first five columns
of a cron line is changed, to @reboot, which is "now" for a cron that starts; with BATON_LONG=1 cron also runs them by the
minute. Exit status 77: skipped, said why.
"""

import glob
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import unittest

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(sys.argv[1])
PATIENCE = 60
LINE = '192.0.2.1 - - [21/Nov/2026:13:45:58 +0000] "GET /%s HTTP/1.1" 200 1234 "-" "curl/7.88.1"\n'


def skip(why):
    print("SKIPPED: " + why)
    sys.exit(77)


def need():
    if os.geteuid() != 0:
        skip("only root can make the namespaces")
    for tool in ("unshare", "cron", "goaccess", "logrotate"):
        if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin:/bin"):
            skip(tool + " is not installed")
    if subprocess.run(["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "true"],
                      stderr=subprocess.DEVNULL).returncode != 0:
        skip("this container may not make namespaces")


def write(path, text):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "w") as f:
        f.write(text)


def read(path):
    with open(path) as f:
        return f.read()


def eventually(condition):
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True


class Example(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="baton-examples-")
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        os.chmod(self.root, 0o755)
        for name in ("baton/logs", "lib", "cron.d", "run", "spool/crontabs"):
            os.makedirs(f"{self.root}/{name}")

    def there(self, script):
        """The command for `script` where /usr/local/baton, /srv/baton, /var/lib/baton, /etc/cron.d and /run are ours."""
        prepare = f"""set -e
mount --make-rprivate /
mkdir -p {self.root}/local/baton/bin
mount --bind {BIN} {self.root}/local/baton/bin
mount --bind {self.root}/cron.d /etc/cron.d
mount --bind {self.root}/spool /var/spool/cron
mount --bind /dev/null /etc/crontab
mount --bind {self.root}/lib /var/lib
mount --bind {self.root}/run /run
mount --rbind {self.root}/local /usr/local
mount --bind {self.root} /srv
cd /root
"""
        return ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", "sh", "-c", prepare + script]

    def install(self, name, when="@reboot"):
        lines = read(f"{TOP}/conf/cron.d/{name}").splitlines()
        for i, line in enumerate(lines):
            if re.match(r"[0-9*@]", line):
                lines[i] = when + " " + line.split(None, 5)[5] if when else line
        write(f"{self.root}/cron.d/{name}", "\n".join(lines) + "\n")

    def as_cron_would(self, name):
        """sh -c with cron's environment: what it prints is what cron would send by mail."""
        environment = {"HOME": "/root", "LOGNAME": "root", "SHELL": "/bin/sh", "PATH": "/usr/bin:/bin"}
        commands = []
        for line in read(f"{TOP}/conf/cron.d/{name}").splitlines():
            if re.match(r"[A-Z]+=", line):
                environment.update([line.split("=", 1)])
            elif re.match(r"[0-9*@]", line):
                when, command = line.split(None, 6)[:5], line.split(None, 6)[6]
                self.assertNotIn("%", command.replace("\\%", ""), "cron reads % as a newline")
                commands.append((when, command))
        self.assertEqual(len(commands), 1)
        command = commands[0][1].replace("'", "'\\''")
        words = " ".join(f"{key}={value}" for key, value in environment.items())
        done = subprocess.run(self.there(f"exec env -i {words} {environment['SHELL']} -c '{command}'"),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        return done

    def log(self, name, count=3, age_days=0):
        path = f"{self.root}/baton/logs/{name}"
        write(path, "".join(LINE % i for i in range(count)))
        when = time.time() - age_days * 86400
        os.utime(path, (when, when))
        return path

    def report(self, name):
        path = f"{self.root}/lib/baton/reports/{name}.html"
        return read(path) if os.path.exists(path) else ""

    def assert_report(self, name, hits):
        html = self.report(name)
        self.assertTrue(html.startswith("<!DOCTYPE html>"), html[:200])
        self.assertRegex(html, rf'"total_requests": *{hits}\b')


class Cron(Example):
    def test_goaccess_writes_a_report_for_each_finished_log_and_says_nothing(self):
        self.log("access_log.1", 3)
        self.log("access_log.2", 5)
        held = self.log("access_log.3", 7)
        with open(held, "a"):
            done = self.as_cron_would("processlogs-goaccess")
            self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
            self.assert_report("access_log.1", 3)
            self.assert_report("access_log.2", 5)
            self.assertEqual(self.report("access_log.3"), "", "somebody writes to it")
        made = os.stat(f"{self.root}/lib/baton/reports/access_log.1.html")
        done = self.as_cron_would("processlogs-goaccess")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assert_report("access_log.3", 7)
        self.assertEqual(os.stat(f"{self.root}/lib/baton/reports/access_log.1.html"), made, "a report is made once")
        self.assertEqual(sorted(os.listdir(f"{self.root}/baton/logs")), [f"access_log.{i}.zst" for i in (1, 2, 3)])

    def test_a_log_that_goaccess_cannot_read_stays_and_is_complained_about(self):
        write(f"{self.root}/baton/logs/access_log.1", "this is no access log\nneither is this\n")
        done = self.as_cron_would("processlogs-goaccess")
        self.assertEqual((done.returncode, done.stdout), (1, ""))
        self.assertIn("access_log.1", done.stderr)
        self.assertEqual(os.listdir(f"{self.root}/baton/logs"), ["access_log.1"])
        self.assertEqual(os.listdir(f"{self.root}/lib/baton/reports"), [])

    def test_old_error_logs_are_compressed_and_expire_and_those_in_use_stay(self):
        self.log("error_log.1", age_days=40)
        self.log("error_log.2", age_days=20)
        held = self.log("error_log.3", age_days=40)
        with open(held, "a"):
            done = self.as_cron_would("processlogs")
        self.assertEqual((done.returncode, done.stdout, done.stderr), (0, "", ""))
        self.assertEqual(sorted(os.listdir(f"{self.root}/baton/logs")), ["error_log.2.zst", "error_log.3"])

    def test_the_real_cron_runs_both(self):
        self.log("access_log.1", 3)
        self.log("error_log.1")
        self.run_cron("@reboot")

    def run_cron(self, when):
        for name in ("processlogs", "processlogs-goaccess"):
            self.install(name, when)
        daemon = subprocess.Popen(self.there("exec cron -f -L 0"), stdin=subprocess.DEVNULL)
        try:
            self.assertTrue(eventually(lambda: len(glob.glob(f"{self.root}/baton/logs/*.zst")) == 2),
                            os.listdir(f"{self.root}/baton/logs"))
            self.assert_report("access_log.1", 3)
        finally:
            daemon.kill()
            daemon.wait()

    @unittest.skipUnless(os.environ.get("BATON_LONG") == "1", "cron looks at its tables once a minute")
    def test_the_real_cron_runs_both_by_the_minute(self):
        global PATIENCE
        PATIENCE = 130
        self.log("access_log.1", 3)
        self.log("error_log.1")
        self.run_cron("* * * * *")


class Readme(Example):
    def test_the_worked_example_does_what_it_says(self):
        block = re.search(r"examples_test.py runs the next block -->\n```\n(.*?)```", read(TOP + "/README.md"), re.S).group(1)
        os.makedirs(f"{self.root}/top/build/release")
        os.symlink(BIN, f"{self.root}/top/build/release/bin")
        done = subprocess.run(["bash", "-c", block], cwd=f"{self.root}/top", env={**os.environ, "TMPDIR": self.root},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
        self.assertIn("(rotatelogs) logs to it", done.stdout)
        self.assertNotIn("open ", done.stdout.split("logs:")[0].rsplit("not sealed:", 1)[1])
        reports = glob.glob(f"{self.root}/tmp.*/reports/*.html")
        self.assertGreaterEqual(len(reports), 2)
        hits = [int(re.search(r'"total_requests": *([0-9]+)', read(report)).group(1)) for report in reports]
        self.assertEqual(sum(hits), 2000)
        self.assertEqual(len(glob.glob(f"{self.root}/tmp.*/logs/*.zst")), len(reports))


class Logrotate(Example):
    def test_what_logrotate_renames_is_compressed_when_the_last_old_request_is_done(self):
        root = f"{self.root}/baton"
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        write(f"{root}/htdocs/big", "")
        os.truncate(f"{root}/htdocs/big", 64 << 20)  # more than the kernel buffers for a client that does not read
        write(f"{root}/conf/httpd.conf",
              f"Listen 127.0.0.1:{port}\nServerName localhost\nDocumentRoot htdocs\nErrorLog logs/error_log\n"
              'LogFormat "%r %>s" short\nCustomLog logs/access_log short\nDefaultRuntimeDir run\nPidFile run/httpd.pid\n'
              "<Directory />\nRequire all granted\n</Directory>\n")
        rules = read(f"{TOP}/conf/logrotate/httpd").replace("/usr/local/baton/bin", BIN).replace("/srv/baton", root)
        write(f"{self.root}/rules", rules)
        os.chmod(f"{self.root}/rules", 0o644)
        httpd = [BIN + "/httpd", "-d", root]
        subprocess.run(httpd + ["-k", "start"], check=True)
        try:
            with socket.socket() as slow:
                slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                slow.settimeout(PATIENCE)
                slow.connect(("127.0.0.1", port))
                slow.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                slow.recv(1000)
                with socket.create_connection(("127.0.0.1", port), PATIENCE) as quick:
                    quick.sendall(b"GET /none HTTP/1.0\r\n\r\n")
                    while quick.recv(65536):
                        pass
                self.assertTrue(eventually(lambda: "/none" in read(f"{root}/logs/access_log")))
                done = subprocess.run(["logrotate", "-f", "-s", f"{self.root}/state", f"{self.root}/rules"],
                                      capture_output=True, text=True)
                self.assertEqual((done.returncode, done.stderr), (0, ""), done.stdout)
                rotated = glob.glob(f"{root}/logs/access_log-*")
                self.assertEqual(len(rotated), 1)
                command = re.search(r"^# +(processlogs run .*)$", rules, re.M).group(1)
                command = command.replace("/var/lib/baton", self.root)
                environment = {"PATH": BIN + ":/usr/bin:/bin"}

                def run():
                    return subprocess.run(["sh", "-c", command], env=environment, capture_output=True, text=True)

                first = run()
                self.assertEqual(first.returncode, 0, first.stderr)
                self.assertRegex(first.stdout, r"open .*/access_log-[0-9]+: process [0-9]+ \(httpd\),? .*it open for writing")
                self.assertTrue(os.path.exists(rotated[0]))
                while slow.recv(1 << 20):
                    pass
            self.assertTrue(eventually(lambda: run().returncode == 0 and os.path.exists(rotated[0] + ".zst")))
            self.assertFalse(os.path.exists(rotated[0]))
            text = subprocess.run(["zstdcat", rotated[0] + ".zst"], capture_output=True, text=True).stdout \
                if shutil.which("zstdcat") else None
            if text is not None:
                self.assertEqual(text.splitlines(), ["GET /none HTTP/1.0 404", "GET /big HTTP/1.1 200"])
            self.assertEqual(len(glob.glob(f"{root}/logs/access_log")), 1, "the new log is there")
        finally:
            subprocess.run(httpd + ["-k", "stop", "--wait"], stdout=subprocess.DEVNULL)


need()
signal.signal(signal.SIGPIPE, signal.SIG_DFL)
unittest.main(argv=sys.argv[:1] + sys.argv[2:], verbosity=2)
