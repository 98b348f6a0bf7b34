#!/usr/bin/env python3
"""The same requests to our httpd and to Debian's apache2 with the same configuration: status, framing, the header
fields that matter and the body must agree, or the case says why they do not.

  compare.py --httpd PATH [--apache PATH] [--only NAME] [--verbose]

Every cases/NAME.case is one virtual host, or several, each begun by a line `== host`:

  == config       directives inside its <VirtualHost>; @ROOT@ is its directory, @PORT@ the server's port
  == server       directives outside
  == files        `PATH: text` below @ROOT@ (\\n, \\xNN are escapes; a PATH that ends with .cgi or .sh is executable)
  == requests     `METHOD TARGET` or `METHOD TARGET | Field: value | Field: value | body=text`
                  `RAW bytes` sends the bytes as they are (\\r \\n \\0 \\xNN), `@NAME@` is the host's name
                  ` -- reason` at the end: the two differ, and that is why (an entry that agrees is an error as well)
  == any framing  chunks or a length: it depends on how fast a program is

Exit status 0: all as said. Needs root (apache2 gives its children to another user) and the package apache2-bin.
"""
import argparse
import hashlib
import os
import pathlib
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
MODULES = pathlib.Path("/usr/lib/apache2/modules")
WANTED = """authz_core authz_host authz_user authz_groupfile authn_core authn_file auth_basic auth_digest access_compat
  allowmethods alias rewrite dir mime negotiation autoindex asis env setenvif headers expires deflate brotli filter
  substitute status userdir vhost_alias actions cgi speling remoteip unique_id reqtimeout proxy proxy_http
  proxy_balancer slotmem_shm lbmethod_byrequests""".split()
# What is compared besides status, framing and body. Dates and the server's name differ by nature.
FIELDS = ["accept-ranges", "allow", "alternates", "cache-control", "connection", "content-encoding", "content-language",
          "content-location", "content-range", "content-type", "etag", "expires", "last-modified", "location", "tcn",
          "vary", "www-authenticate", "x-test", "x-two", "set-cookie", "content-md5"]
PATIENCE = 10.0


def unescape(text):
    return re.sub(rb"\\(r|n|t|0|\\|x[0-9a-fA-F]{2})",
                  lambda m: {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"0": b"\0", b"\\": b"\\"}.get(m.group(1)) or
                  bytes([int(m.group(1)[1:], 16)]), text.encode("latin-1"))


class Case:
    def __init__(self, name, text, root):
        self.name = name
        self.host = self.name.replace("_", "-") + ".example"
        self.root = root / self.name
        self.config, self.server, self.requests = "", "", []
        self.any_framing = False
        self.root.mkdir(parents=True)
        part = ""
        for line in text.splitlines():
            if line.startswith("== "):
                part = line[3:].strip()
                self.any_framing = self.any_framing or part == "any framing"
            elif part == "config":
                self.config += line + "\n"
            elif part == "server":
                self.server += line + "\n"
            elif not line.strip() or line.startswith("#"):
                continue
            elif part == "files":
                self.make_file(line)
            elif part == "requests":
                words, mark, reason = line.partition(" -- ")
                self.requests.append((words.strip(), reason.strip() if mark else None))

    def make_file(self, line):
        name, _, text = line.partition(": ")
        target = self.root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            target.mkdir(exist_ok=True)
            return
        target.write_bytes(unescape(text.replace("@ROOT@", str(self.root))))
        if name.endswith((".cgi", ".sh")):
            target.chmod(0o755)
        os.utime(target, (1700000000, 1700000000))

    @staticmethod
    def read(path, root):
        hosts = re.split(r"(?m)^== host.*\n", path.read_text(encoding="latin-1"))
        common, hosts = (hosts[0], hosts[1:]) if len(hosts) > 1 else ("", hosts)
        return [Case(path.stem + (f"_{i + 1}" if common or i else ""), common + "\n" + text, root)
                for i, text in enumerate(hosts)]

    def bytes_of(self, text):
        if text.startswith("RAW "):
            return unescape(text[4:].replace("@NAME@", self.host)), False
        parts = [p.strip() for p in text.split(" | ")]
        method, target = parts[0].split(" ", 1)
        fields, body = [f"Host: {self.host}"], b""
        for part in parts[1:]:
            if part.startswith("body="):
                body = unescape(part[5:])
                fields.append(f"Content-Length: {len(body)}")
            elif part.lower().startswith("host:"):
                fields[0] = part
            else:
                fields.append(part)
        head = f"{method} {target} HTTP/1.1\r\n" + "".join(f + "\r\n" for f in fields) + "\r\n"
        return head.encode("latin-1") + body, method == "HEAD"


class Reply:
    """One answer, read by the framing rules of RFC 9112."""

    def __init__(self, port, request, head_only):
        self.status, self.fields, self.body, self.framing = 0, {}, b"", "none"
        with socket.create_connection(("127.0.0.1", port), timeout=PATIENCE) as link:
            link.settimeout(PATIENCE)
            try:
                link.sendall(request)
            except OSError:
                pass
            self.stream, self.rest = link, b""
            try:
                self.read(head_only)
            except (ConnectionError, EOFError):
                pass
            except TimeoutError:
                self.framing += "+timeout"

    def more(self):
        got = self.stream.recv(65536)
        if not got:
            raise EOFError
        self.rest += got

    def line(self):
        while b"\n" not in self.rest:
            self.more()
        out, _, self.rest = self.rest.partition(b"\n")
        return out.rstrip(b"\r")

    def take(self, n):
        while len(self.rest) < n:
            self.more()
        out, self.rest = self.rest[:n], self.rest[n:]
        return out

    def read(self, head_only):
        while True:
            first = self.line()
            if not first.startswith(b"HTTP/"):
                self.framing, self.body = "no head", first
                while True:
                    self.more()
            self.status = int(first.split(b" ")[1])
            self.fields = {}
            while True:
                line = self.line().decode("latin-1")
                if not line:
                    break
                name, _, value = line.partition(":")
                key = name.lower()
                self.fields[key] = (self.fields[key] + ", " if key in self.fields else "") + value.strip()
            if self.status >= 200:
                break
        if head_only or self.status in (204, 304):
            self.framing = "head"
        elif "chunked" in self.fields.get("transfer-encoding", ""):
            self.framing = "chunked"
            while True:
                size = int(self.line().split(b";")[0], 16)
                self.body += self.take(size)
                self.line()
                if size == 0:
                    break
        elif "content-length" in self.fields:
            self.framing = "length"
            self.body = self.take(int(self.fields["content-length"]))
        else:
            self.framing = "close"
            try:
                while True:
                    self.more()
            except EOFError:
                self.body = self.rest


def mask(text, port, root):
    return text.replace(f":{port}", ":PORT").replace(f"Port {port}", "Port PORT").replace(str(root), "ROOT")


def facts(reply, port, root, any_framing):
    """What of an answer must agree."""
    out = {"status": reply.status, "framing": reply.framing}
    if any_framing and reply.framing in ("length", "chunked"):
        out["framing"] = "length or chunks"
    if reply.framing == "head" and "content-length" in reply.fields:
        out["length"] = reply.fields["content-length"]
    for name in FIELDS:
        if name in reply.fields:
            value = mask(reply.fields[name], port, root)
            if name in ("vary", "allow"):
                value = ",".join(sorted({v.strip().lower() for v in value.split(",")}))
            value = re.sub(r'nonce="[^"]*"', 'nonce="N"', value)
            value = re.sub(r"boundary=\S+", "boundary=B", value)
            if name == "etag":  # Apache leaves out the closing quote of a negotiated answer's tag
                value = re.sub(r'^(W/)?("[^;"]*;[^"]*)"?$', r'\2"', value)
            out[name] = value
    if 200 <= reply.status < 300:
        body = mask(reply.body.decode("latin-1"), port, root).encode("latin-1")
        if "multipart/byteranges" in out.get("content-type", ""):
            body = re.sub(rb"--\S+", b"--B", body).lower()
        if reply.fields.get("content-encoding"):
            body = b"coded"
        out["body"] = body[:120] if len(body) <= 120 else hashlib.sha1(body).hexdigest()
    return out


class Server:
    def __init__(self, words, root, port, cases, name):
        self.port, self.root = port, root
        run = root.parent / name
        (run / "logs").mkdir(parents=True)
        loads = "".join(f"LoadModule {m}_module {MODULES}/mod_{m}.so\n" for m in WANTED
                        if (MODULES / f"mod_{m}.so").exists())
        text = (f"ServerRoot {run}\n{loads if name == 'apache' else ''}"
                f"Listen 127.0.0.1:{port}\nPidFile {run}/httpd.pid\n"
                f"DefaultRuntimeDir {run}\nErrorLog {run}/logs/error_log\nLogLevel info\nServerName main.example\n"
                f"User daemon\nGroup daemon\nTypesConfig {root}/mime.types\nDocumentRoot {root}\nKeepAliveTimeout 5\n"
                f"<Directory />\nRequire all granted\nAllowOverride None\nOptions FollowSymLinks\n</Directory>\n")
        if name == "apache":
            text = f"LoadModule mpm_event_module {MODULES}/mod_mpm_event.so\n" + text
        for case in cases:
            text += case.server + (f"<VirtualHost *:{port}>\nServerName {case.host}\nDocumentRoot {case.root}\n"
                                   f"{case.config}</VirtualHost>\n")
        # @ROOT@ is the root of the host that it stands in.
        done = ""
        for block in re.split(r"(?=<VirtualHost )", text):
            found = re.search(r"DocumentRoot (\S+)", block)
            done += block.replace("@ROOT@", found.group(1)).replace("@PORT@", str(port)) if found else block
        conf = run / "httpd.conf"
        conf.write_text(done)
        self.error_log = run / "logs/error_log"
        self.output = open(run / "output", "wb+")
        self.process = subprocess.Popen(words + ["-d", str(run), "-f", str(conf), "-DFOREGROUND"], stdout=self.output,
                                        stderr=self.output, start_new_session=True)
        deadline = time.monotonic() + 30
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    self.output.seek(0)
                    sys.exit(f"{name} did not start:\n{self.output.read().decode(errors='replace')}")
                time.sleep(0.02)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def main():
    parser = argparse.ArgumentParser(usage=__doc__)
    parser.add_argument("--httpd", required=True)
    parser.add_argument("--apache", default="/usr/sbin/apache2")
    parser.add_argument("--only", default="")
    parser.add_argument("--verbose", action="store_true")
    options = parser.parse_args()
    if not os.access(options.apache, os.X_OK):
        print(f"skipped: {options.apache} is not there (package apache2-bin)")
        return 77
    if os.geteuid() != 0:
        print("skipped: needs root, apache2 gives its children to another user")
        return 77
    base = pathlib.Path(tempfile.mkdtemp(prefix="differential."))
    base.chmod(0o755)
    servers = []
    compared = differed = wrong = 0
    try:
        root = base / "site"
        root.mkdir()
        shutil.copy(HERE / "mime.types", root / "mime.types")
        cases = [c for p in sorted((HERE / "cases").glob("*.case")) if options.only in p.stem
                 for c in Case.read(p, root)]
        servers.append(Server([options.apache], root, free_port(), cases, "apache"))
        servers.append(Server([options.httpd], root, free_port(), cases, "httpd"))
        for case in cases:
            for text, reason in case.requests:
                request, head_only = case.bytes_of(text)
                theirs, ours = (facts(Reply(s.port, request, head_only), s.port, root, case.any_framing)
                                for s in servers)
                compared += 1
                same = theirs == ours
                differed += not same
                if same == (reason is None) and not options.verbose:
                    continue
                wrong += same != (reason is None)
                print(f"--- {case.name}: {text}" + (f"  ({reason})" if reason else ""))
                if same and reason:
                    print("    agrees, though the case says that it does not")
                for key in sorted(set(theirs) | set(ours), key=str):
                    if theirs.get(key) != ours.get(key):
                        print(f"    {key}: apache {theirs.get(key)!r}, httpd {ours.get(key)!r}")
    finally:
        for server in servers:
            server.stop()
        if wrong and os.environ.get("KEEP"):
            print(f"kept: {base}")
        else:
            shutil.rmtree(base)
    print(f"{compared} requests, {differed} differ, {wrong} not as said")
    return 1 if wrong or compared == 0 else 0


if __name__ == "__main__":
    sys.exit(main())
