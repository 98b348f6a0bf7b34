#!/usr/bin/env python3
"""What a service manager hears during upgrades, without a service manager: we hold the NOTIFY_SOCKET.

Needs no root and no namespaces, so it runs where tests/systemd/run has to skip. usage: notify_test.py BIN-DIRECTORY
"""

import os
import signal
import socket
import subprocess
import sys
import tempfile

BIN = os.path.abspath(sys.argv[1])


def main():
    with tempfile.TemporaryDirectory() as root, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        os.chmod(root, 0o755)
        os.makedirs(root + "/htdocs")
        os.makedirs(root + "/logs")
        with open(root + "/htdocs/index.html", "w") as f:
            f.write("hello\n")
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            port = s.getsockname()[1]
        with open(root + "/httpd.conf", "w") as f:
            f.write(f"Listen 127.0.0.1:{port}\nServerName localhost\nDocumentRoot htdocs\nErrorLog logs/error_log\n"
                    "DefaultRuntimeDir run\nPidFile run/httpd.pid\n<Directory />\nRequire all granted\n</Directory>\n")
        manager.bind(root + "/notify")
        os.chmod(root + "/notify", 0o666)
        manager.settimeout(20)

        def hear():
            return manager.recv(4096).decode().splitlines()

        def upgrade(*more):
            return subprocess.Popen([BIN + "/orchestrator", "upgrade", "-d", root, "-f", "httpd.conf", *more],
                                    stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

        server = subprocess.Popen([BIN + "/httpd", "-d", root, "-f", "httpd.conf", "-D", "FOREGROUND"],
                                  env={**os.environ, "NOTIFY_SOCKET": root + "/notify"})
        serving = server.pid
        try:
            first = hear()
            assert "READY=1" in first and f"MAINPID={server.pid}" in first, first

            for count in (1, 2):  # the second newcomer's predecessor was itself started by an upgrade
                done = upgrade("--bake", "0").wait(30)
                assert done == 0, f"upgrade {count}: exit status {done}"
                with open(root + "/run/httpd.pid") as f:
                    serving = int(f.read())
                said = hear()
                assert f"MAINPID={serving}" in said, (f"upgrade {count}: the newcomer is {serving}", said)
            server.wait(10)

            rolled_back = upgrade("--bake", "60")
            said = hear()
            newcomer = int(next(line for line in said if line.startswith("MAINPID="))[8:])
            assert newcomer != serving, said
            os.kill(newcomer, signal.SIGKILL)
            assert rolled_back.wait(30) == 3
            said = hear()
            assert f"MAINPID={serving}" in said, ("after a rollback the old one is the main process again", said)

            # Killed when the old one leaves already: its version is started again, and is the main process.
            with open(root + "/htdocs/big", "wb") as f:
                f.truncate(20_000_000)
            slow = socket.socket()
            slow.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            slow.connect(("127.0.0.1", port))
            slow.sendall(b"GET /big HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            assert slow.recv(100)
            revived = upgrade("--bake", "0")
            said = hear()
            newcomer = int(next(line for line in said if line.startswith("MAINPID="))[8:])
            while '"state":"draining"' not in subprocess.run(
                    [BIN + "/orchestrator", "status", "-d", root, "-f", "httpd.conf", "--json"],
                    capture_output=True, text=True).stdout:
                pass
            os.kill(newcomer, signal.SIGKILL)
            said = hear()
            serving = int(next(line for line in said if line.startswith("MAINPID="))[8:])
            assert serving != newcomer, said
            slow.close()
            assert revived.wait(30) == 3
            with open(root + "/run/httpd.pid") as f:
                assert int(f.read()) == serving

            # Nobody said STOPPING=1 until now: every message was one of those above. The one that serves does say it.
            subprocess.run([BIN + "/httpd", "-d", root, "-f", "httpd.conf", "-k", "graceful-stop", "--wait"], check=True)
            said = hear()
            assert "STOPPING=1" in said, said
        finally:
            subprocess.run([BIN + "/orchestrator", "stop", "-d", root, "-f", "httpd.conf"], stdout=subprocess.DEVNULL)
            if server.poll() is None:
                server.kill()
                server.wait()
    print("passed")


main()
