#!/usr/bin/env python3
"""Existing configurations, unchanged, load and serve: Debian's enabled tree of apache2 and the upstream default
httpd.conf with its extra/ files. Both servers get the same tree and the same requests; status, body of files and the
fields that matter must agree, or the difference is in DIFFERENCES with its reason.

usage: trees_test.py HTTPD

Runs in a network of its own (unshare -n), so that `Listen 80` of an unchanged tree is nobody's port. Status 77: root,
apache2 or unshare is missing.
"""
import ctypes
import email.utils
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
APACHE = "/usr/sbin/apache2"
MODULES = "/usr/lib/apache2/modules"
FIELDS = ["content-type", "content-length", "content-encoding", "content-language", "content-location", "vary", "allow",
          "location", "last-modified", "accept-ranges", "etag", "content-range", "tcn"]

# "tree label field": reason. Only these may differ.
DIFFERENCES = {
    "debian TRACE / allow": "a 405 must have the list (RFC 9110, 15.5.6); Apache's is empty for TRACE",
    "debian not modified vary": "a 304 varies like its 200 (RFC 9110, 15.4.5); Apache's filter leaves it alone",
    "debian range beyond content-range": "RFC 9110, 15.5.17: the length that there is; Apache leaves it out",
    "debian range beyond last-modified": "Apache answers 416 with an error page's fields",
    "debian range beyond accept-ranges": "Apache answers 416 with an error page's fields",
    "upstream /.htaccess accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream /cgi-bin/ accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream /cgi-bin/x accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream /~root/ accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream /~nobodyhere/ accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream missing accept-ranges": "the page is a body in a type map: it has no ranges here",
    "upstream /cgi-bin/ status": "mod_cgi is built in: a directory is no program; Apache has not loaded it",
    "upstream /manual/ etag": "Apache leaves out the closing quote",
    "upstream /manual/en/ etag": "Apache leaves out the closing quote",
    "upstream /manual/index.html etag": "Apache leaves out the closing quote",
}


def die_with_parent():
    ctypes.CDLL("libc.so.6").prctl(1, signal.SIGKILL)


class Server:
    """A server in the foreground, ended when the block is left."""

    def __init__(self, command, env, port, name):
        self.process = subprocess.Popen(command, env=env, preexec_fn=die_with_parent, stdout=subprocess.PIPE,
                                        stderr=subprocess.STDOUT, start_new_session=True)
        self.name = name
        deadline = time.monotonic() + 15
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{name} ended with {self.process.returncode}:\n{self.process.stdout.read().decode()}")
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    self.process.kill()
                    raise SystemExit(f"{name} does not answer on port {port}")
                time.sleep(0.02)  # polls a condition with a deadline

    def __enter__(self):
        return self

    def __exit__(self, *unused):
        self.process.terminate()
        try:
            self.process.wait(15)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def ask(port, request):
    with socket.create_connection(("127.0.0.1", port), 10) as s:
        s.settimeout(10)
        s.sendall(request)
        data = b""
        while chunk := s.recv(65536):
            data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    fields = {}
    for line in lines[1:]:
        name, _, value = line.partition(":")
        key = name.lower()
        fields[key] = fields[key] + ", " + value.strip() if key in fields else value.strip()
    return int(lines[0].split()[1]) if lines[0].startswith("HTTP/") else 0, fields, body


def get(target, *more, method="GET", host="localhost", body=b""):
    text = f"{method} {target} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n" + "".join(f"{m}\r\n" for m in more)
    if body:
        text += f"Content-Length: {len(body)}\r\n"
    return text.encode("latin-1") + b"\r\n" + body


DEBIAN = {
    "/": get("/"),
    "/index.html": get("/index.html"),
    "HEAD /": get("/", method="HEAD"),
    "OPTIONS /": get("/", method="OPTIONS"),
    "TRACE /": get("/", method="TRACE"),
    "PUT": get("/index.html", method="PUT", body=b"x"),
    "DELETE": get("/index.html", method="DELETE"),
    "PROPFIND": get("/", method="PROPFIND"),
    "range": get("/index.html", "Range: bytes=10-19"),
    "range beyond": get("/index.html", "Range: bytes=9999999-"),
    "not modified": get("/index.html", "If-Modified-Since: " + email.utils.formatdate(usegmt=True)),
    "gzip": get("/index.html", "Accept-Encoding: gzip"),
    "missing": get("/nope"),
    "missing below a file": get("/index.html/x"),
    "/index without suffix": get("/index"),
    "/.htaccess": get("/.htaccess"),
    "/.htpasswd": get("/.htpasswd"),
    "/cgi-bin/": get("/cgi-bin/"),
    "/cgi-bin/x": get("/cgi-bin/x"),
    "/icons": get("/icons"),
    "/icons/": get("/icons/"),
    "/icons/text.gif": get("/icons/text.gif"),
    "/icons/README": get("/icons/README"),
    "/icons/small/dir.png": get("/icons/small/dir.png"),
    "/manual": get("/manual"),
    "/server-status?auto": get("/server-status?auto"),
    "traversal": get("/icons/../../etc/passwd"),
    "encoded traversal": get("/icons/%2e%2e/%2e%2e/etc/passwd"),
    "encoded slash": get("/icons%2ftext.gif"),
    "two slashes": get("//icons//text.gif"),
    "no host": b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
    "HTTP/1.0": b"GET / HTTP/1.0\r\n\r\n",
    "other host": get("/", host="unknown.example"),
}

UPSTREAM = {
    "/": get("/"),
    "/dir": get("/dir"),
    "/dir/": get("/dir/"),
    "/dir/?C=S;O=D": get("/dir/?C=S;O=D"),
    "/dir/a.txt": get("/dir/a.txt"),
    "/dir/a.tar.gz": get("/dir/a.tar.gz"),
    "/dir/a.Z": get("/dir/a.Z"),
    "/dir/page.html.en": get("/dir/page.html.en"),
    "/dir/page.fr.html": get("/dir/page.fr.html"),
    "/dir/latin.txt.iso8859-1": get("/dir/latin.txt.iso8859-1"),
    "/.htaccess": get("/.htaccess"),
    "/cgi-bin/": get("/cgi-bin/"),
    "/cgi-bin/x": get("/cgi-bin/x"),
    "/icons/": get("/icons/"),
    "/icons/a.gif": get("/icons/a.gif"),
    "/manual": get("/manual"),
    "/manual/": get("/manual/"),
    "/manual/en/": get("/manual/en/"),
    "/manual/de/fr/x": get("/manual/de/fr/x"),
    "/manual/index.html": get("/manual/index.html", "Accept-Language: en"),
    "/~root/": get("/~root/"),
    "/~nobodyhere/": get("/~nobodyhere/"),
    "/server-status": get("/server-status?auto"),
    "/server-info": get("/server-info?server"),
    "missing": get("/nope", "Accept-Language: de"),
    "Proxy field": get("/", "Proxy: http://x/"),
    "redirect-carefully": get("/dir", "User-Agent: MS FrontPage 4.0"),
}


def comparable(field, fields):
    value = fields.get(field)
    return sorted(value.split(",")) if field == "allow" and value else value


def compare(tree, requests, theirs, ours):
    wrong = []
    for label in requests:
        (their_status, their_fields, their_body), (our_status, our_fields, our_body) = theirs[label], ours[label]

        def check(field, a, b):
            if a != b and f"{tree} {label} {field}" not in DIFFERENCES:
                wrong.append(f"{tree}: {label}: {field}: apache2 {a!r}, httpd {b!r}")

        check("status", their_status, our_status)
        made_here = their_status >= 300 or "server-" in label or label.endswith("/") and label != "/" or "?C=" in label
        for field in FIELDS:
            if field == "content-length" and (made_here or label == "gzip"):
                continue  # pages that the server writes differ in their words
            if field == "etag" and their_status >= 300:
                continue
            check(field, comparable(field, their_fields), comparable(field, our_fields))
        if their_status in (200, 206) and not made_here and label != "gzip":
            check("body", their_body[:200], our_body[:200])
    return wrong


def run(command, env):
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60)
    return done.returncode, done.stdout


def both(tree, requests, port, env, apache, httpd):
    answers = []
    for name, command in (("apache2", apache), ("httpd", httpd)):
        status, said = run(command + ["-t"], env)
        if status != 0 or "Syntax OK" not in said:
            return [f"{tree}: {name} -t: status {status}\n{said}"]
        with Server(command + ["-D", "FOREGROUND"], env, port, f"{tree}: {name}"):
            answers.append({label: ask(port, request) for label, request in requests.items()})
    return compare(tree, requests, *answers)


def debian(httpd, scratch):
    """/etc/apache2 as it is; only what its envvars name is private."""
    root = os.path.join(scratch, "debian")
    os.makedirs(root + "/run")
    os.makedirs(root + "/log")
    env = dict(os.environ, APACHE_RUN_USER="www-data", APACHE_RUN_GROUP="www-data", APACHE_RUN_DIR=root + "/run",
               APACHE_PID_FILE=root + "/run/apache2.pid", APACHE_LOCK_DIR=root + "/run", APACHE_LOG_DIR=root + "/log",
               LANG="C")
    tree = ["-d", "/etc/apache2", "-f", "apache2.conf"]
    return both("debian", DEBIAN, 80, env, [APACHE] + tree, [httpd] + tree)


def upstream(httpd, scratch):
    root = os.path.join(scratch, "upstream")
    shutil.copytree(HERE + "/upstream", root + "/conf")
    shutil.copy("/etc/mime.types", root + "/conf/mime.types")
    for name in ("logs", "run", "htdocs/dir", "htdocs/manual", "cgi-bin"):
        os.makedirs(f"{root}/{name}")
    os.symlink("/usr/share/apache2/icons", root + "/icons")
    shutil.copytree("/usr/share/apache2/error", root + "/error")
    os.symlink(MODULES, root + "/modules")
    for name, text in (("index.html", "<html><body><h1>It works!</h1></body></html>\n"), ("dir/a.txt", "text\n"),
                       ("dir/a.tar.gz", "packed"), ("dir/a.Z", "packed"), ("dir/page.html.en", "English\n"),
                       ("dir/page.fr.html", "francais\n"), ("dir/latin.txt.iso8859-1", "latin\n"),
                       ("dir/.hidden", "hidden\n"), (".htaccess", "Foo\n"),
                       ("manual/index.html", "URI: index.html.en\nContent-Language: en\nContent-type: text/html\n"),
                       ("manual/index.html.en", "The manual\n")):
        with open(f"{root}/htdocs/{name}", "w", encoding="latin-1") as out:
            out.write(text)
        os.utime(f"{root}/htdocs/{name}", (1700000000, 1700000000))
    # What an administrator does who wants the extra/ files: load their modules and include them.
    extra = []
    for module in ("negotiation", "userdir", "info"):
        extra += ["-C", f"LoadModule {module}_module {MODULES}/mod_{module}.so"]
    for name in ("mpm", "multilang-errordoc", "autoindex", "languages", "userdir", "info", "manual", "default"):
        extra += ["-c", f"Include conf/extra/httpd-{name}.conf"]
    defines = ["-C", f"Define SRVROOT {root}", "-C", "Define PORT 8080", "-c", "ServerName localhost"]
    # Debian has compiled these in, and refuses to load what is compiled in.
    with open(root + "/conf/httpd.conf", encoding="utf-8") as source, \
            open(root + "/conf/apache2.conf", "w", encoding="utf-8") as out:
        out.writelines(line for line in source if not re.match(r"LoadModule (log_config|version|unixd)_module", line))
    env = dict(os.environ, LANG="C")
    tree = ["-d", root] + defines + extra
    wrong = both("upstream", UPSTREAM, 8080, env, [APACHE, "-f", "conf/apache2.conf"] + tree,
                 [httpd, "-f", "conf/httpd.conf"] + tree)
    hosts = ["-c", "Include conf/extra/httpd-vhosts.conf"]
    status, said = run([httpd, "-f", "conf/httpd.conf", "-t"] + tree + hosts, env)
    if status != 0 or "AH00112: Warning: DocumentRoot" not in said:
        wrong.append(f"upstream: httpd -t with extra/httpd-vhosts.conf: status {status}\n{said}")
    for name, module in (("dav", "dav"), ("md", "md")):  # what is not here says so
        line = f"LoadModule {module}_module modules/mod_{module}.so"
        status, said = run([httpd, "-f", "conf/httpd.conf", "-t"] + tree + ["-c", line], env)
        if status != 1 or f"{module}_module is a module of Apache that this server does not have" not in said:
            wrong.append(f"upstream: httpd -t with {module}: status {status}\n{said}")
    return wrong


def main():
    if len(sys.argv) == 2:
        able = os.geteuid() == 0 and os.path.exists(APACHE) and os.path.exists("/etc/apache2/apache2.conf")
        if not able or subprocess.run(["unshare", "-n", "true"], stderr=subprocess.DEVNULL).returncode != 0:
            print("trees: skipped (needs root, apache2 and unshare -n)")
            return 77
        return subprocess.run(["unshare", "-n", sys.executable, __file__, sys.argv[1], "inside"]).returncode
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    scratch = tempfile.mkdtemp(prefix="baton-trees-")
    os.chmod(scratch, 0o755)
    try:
        wrong = debian(sys.argv[1], scratch) + upstream(sys.argv[1], scratch)
    finally:
        shutil.rmtree(scratch)
    for line in wrong:
        print(line)
    print(f"{len(DEBIAN) + len(UPSTREAM)} requests, {len(wrong)} differences that nothing explains")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
