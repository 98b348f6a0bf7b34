"""The servers that tests/bench/compare holds against each other: packages, configurations, start and end.

All get the same site, number of workers (processes or threads with an event loop each), time-outs of 300 s, keep-alive
without a limit where there is such a setting, a listen queue of 4096, sendfile and a cache of open files where they
have one, and an access log in the common format where they can. A variant of the configuration is one of VARIANTS.
"""

import glob
import os
import re
import shutil
import socket
import subprocess
import time

from . import processes

VARIANTS = ("plain", "nolog", "htaccess", "gzip", "precompressed", "tls", "proxy")
APACHE_MODULES = "/usr/lib/apache2/modules"
GZIP_LEVEL = 6  # of all servers: their own defaults differ (1 to 6)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Failure(RuntimeError):
    """Something that ends the comparison, in words for the user."""


class Setting:
    """What all servers of one run share."""

    def __init__(self, directory, site, build, workers, backend=None):
        self.directory, self.site, self.build, self.workers = directory, site, build, workers
        self.backend = backend  # port of the server behind the proxies
        self.root = os.geteuid() == 0


class Server:
    """One running instance. `row` decides the variant and, for the floor, what it answers."""

    name, title, packages, program, note = "", "", (), "", ""
    has_log_program = False

    def __init__(self, setting, variant):
        self.setting, self.variant, self.process = setting, variant, None
        self.tls = variant == "tls"
        self.logs = variant != "nolog"
        self.port = free_port()
        self.dir = os.path.join(setting.directory, f"{self.name}.{variant}.{self.port}")
        os.mkdir(self.dir)
        if setting.root:
            shutil.chown(self.dir, "www-data", "www-data")

    @classmethod
    def missing(cls, variant, setting):
        """Why there is no such variant of this server; None: there is."""
        return None

    def configuration(self):
        """(file name, text)"""
        raise NotImplementedError

    def command(self, path):
        raise NotImplementedError

    @property
    def log_command(self):
        return f"/usr/bin/rotatelogs {self.dir}/access.log 86400"

    def if_root(self, text):
        return text if self.setting.root else ""

    def start(self):
        name, text = self.configuration()
        path = os.path.join(self.dir, name)
        if name:
            with open(path, "w") as f:
                f.write(re.sub(r"\n\s*\n+", "\n", text.strip() + "\n"))
        self.words = open(os.path.join(self.dir, "words"), "w+")
        self.process = processes.start(self.command(path), stdout=self.words, stderr=self.words, cwd=self.dir,
                                       env={**os.environ, "HOME": self.dir, "GOMAXPROCS": str(self.setting.workers)})
        deadline = time.monotonic() + 20
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                return
            except OSError:
                if self.process.poll() is not None or time.monotonic() > deadline:
                    raise Failure(f"{self.title} does not start:\n{self.last_words()}")
                time.sleep(0.02)

    def last_words(self):
        said = ""
        for path in [os.path.join(self.dir, "words"), *glob.glob(f"{self.dir}/error.log*")]:
            with open(path, errors="replace") as f:
                said += f.read()
        return said.strip()[-1500:]

    def stop(self):
        if self.process:
            processes.stop(self.process)
            self.process = None
            self.words.close()
            shutil.rmtree(self.dir, ignore_errors=True)

    def pids(self):
        """(processes of the server, processes of its log program)"""
        log, own = [], []
        for pid in processes.family(self.process.pid):
            (log if processes.name_of(pid) in ("rotatelogs", "sh") else own).append(pid)
        return own, log

    def logged(self, marker):
        """Whether a line with `marker` is in the access log."""
        for path in glob.glob(f"{self.dir}/access.log*"):
            with open(path, errors="replace") as f:
                if marker in f.read():
                    return True
        return False

    def forget_log(self):
        """Empties the log between two runs: memory is what holds it."""
        for path in glob.glob(f"{self.dir}/access.log*"):
            os.truncate(path, 0)


class Floor(Server):
    name, title = "floor", "floor"
    note = "tests/bench/floor.cc: epoll_wait, recv, send; no log; a large body is copied, not sent from a file"
    arguments = ()  # set by the row

    def start(self):
        program = os.path.join(self.setting.build, "tests/bench_floor")
        self.process = processes.start([program, "--threads", str(self.setting.workers), *self.arguments],
                                       stdout=subprocess.PIPE, text=True)
        line = self.process.stdout.readline()
        if not line:
            raise Failure("the floor does not start")
        self.port = int(line)

    def stop(self):
        if self.process:
            self.process.stdout.close()
            processes.stop(self.process)
            self.process = None
            shutil.rmtree(self.dir, ignore_errors=True)


class HttpdLike(Server):
    """What Baton and Apache have in common: the language of the configuration."""

    has_log_program = True
    modules = workers = precompressed = ""

    def configuration(self):
        s = self.setting
        more = {
            "htaccess": f'<Directory "{s.site}/tree">\nAllowOverride All\n</Directory>',
            "gzip": f"AddOutputFilterByType DEFLATE text/plain\nDeflateCompressionLevel {GZIP_LEVEL}",
            "precompressed": self.precompressed,
            "tls": f'SSLEngine On\nSSLCertificateFile "{s.directory}/cert.pem"\n'
                   f'SSLCertificateKeyFile "{s.directory}/key.pem"\nProtocols h2 http/1.1',
            "proxy": f"ProxyPass / http://127.0.0.1:{s.backend}/",
        }.get(self.variant, "")
        return "httpd.conf", f"""
ServerRoot "{self.dir}"
DefaultRuntimeDir "{self.dir}"
PidFile "{self.dir}/pid"
ServerName localhost
Listen 127.0.0.1:{self.port}
ListenBacklog 4096
AcceptFilter http data
{self.modules}
{self.if_root("User www-data")}
{self.if_root("Group www-data")}
{self.workers}
Timeout 300
KeepAliveTimeout 300
MaxKeepAliveRequests 0
EnableSendfile On
AddType text/plain .txt
DocumentRoot "{s.site}"
<Directory "{s.site}">
AllowOverride None
Require all granted
</Directory>
ErrorLog "{self.dir}/error.log"
LogFormat "%h %l %u %t \\"%r\\" %>s %b" common
{f'CustomLog "|{self.log_command}" common' if self.logs else ""}
{more}
"""


class Ours(HttpdLike):
    name, title = "ours", "Baton"
    note = "log through our rotatelogs; keeps small answers and compressed ones while their files do not change"
    precompressed = "PrecompressedFiles gzip"
    lists = {}

    def __init__(self, setting, variant):
        super().__init__(setting, variant)
        self.workers = f"StartServers {setting.workers}\nServerLimit {setting.workers}\nThreadsPerChild 1\n" \
                       "MaxRequestWorkers 32768"

    @property
    def log_command(self):
        return f"{self.setting.build}/bin/rotatelogs {self.dir}/access.log 86400"

    @classmethod
    def says(cls, setting, option):
        if option not in cls.lists:
            done = subprocess.run([f"{setting.build}/bin/httpd", option], capture_output=True, text=True)
            cls.lists[option] = done.stdout
        return cls.lists[option]

    @classmethod
    def missing(cls, variant, setting):
        if variant == "tls" and not re.search(r"(?m)^SSLEngine ", cls.says(setting, "-L")):
            return "not available: no TLS yet"
        if variant == "proxy" and not re.search(r"(?m)^ProxyPass ", cls.says(setting, "-L")):
            return "not available: no proxying yet"
        return None

    @classmethod
    def has_http2(cls, setting):
        return "http2_module" in cls.says(setting, "-M")

    def command(self, path):
        return [f"{self.setting.build}/bin/httpd", "-d", self.dir, "-f", path, "-DFOREGROUND"]


class Apache(HttpdLike):
    name, title, packages, program = "apache", "Apache event", ("apache2-bin", "apache2-utils"), "/usr/sbin/apache2"
    note = "log through Apache's rotatelogs; threads: 64 a process"
    precompressed = """
RewriteEngine On
RewriteCond "%{HTTP:Accept-Encoding}" "gzip"
RewriteCond "%{DOCUMENT_ROOT}%{REQUEST_URI}.gz" -s
RewriteRule "^(.*)\\.txt$" "$1.txt.gz" [QSA]
RewriteRule "\\.txt\\.gz$" "-" [T=text/plain,E=no-gzip:1]
<FilesMatch "\\.txt\\.gz$">
Header append Content-Encoding gzip
Header append Vary Accept-Encoding
</FilesMatch>
"""

    def __init__(self, setting, variant):
        super().__init__(setting, variant)
        wanted = ["mpm_event", "authz_core", "mime"] + {
            "gzip": ["filter", "deflate"], "precompressed": ["rewrite", "headers"],
            "tls": ["socache_shmcb", "ssl", "http2"], "proxy": ["proxy", "proxy_http"]}.get(variant, [])
        self.modules = "\n".join(f"LoadModule {m}_module {APACHE_MODULES}/mod_{m}.so" for m in wanted) + \
                       f'\nTypesConfig /dev/null\nMutex "file:{self.dir}" default'
        if self.tls:
            self.modules += f'\nSSLSessionCache "shmcb:{self.dir}/sessions(512000)"'
        # The factor lets a process hold connections beyond its threads; without it 8,000 would wait to be accepted.
        self.workers = f"StartServers {setting.workers}\nServerLimit {setting.workers}\nThreadLimit 64\n" \
                       f"ThreadsPerChild 64\nMaxRequestWorkers {64 * setting.workers}\nMinSpareThreads 1\n" \
                       f"MaxSpareThreads {64 * setting.workers}\nAsyncRequestWorkerFactor 300"

    def command(self, path):
        return [self.program, "-d", self.dir, "-f", path, "-DFOREGROUND"]


class Nginx(Server):
    name, title, packages, program = "nginx", "nginx", ("nginx",), "/usr/sbin/nginx"
    note = "log to a file (it has no pipes), a write per line; open_file_cache, valid for 1 s"
    buffer, nopush = "", "off"

    def configuration(self):
        s = self.setting
        where = f"root {s.site};"
        if self.variant == "proxy":
            where = 'location / { proxy_pass http://behind; proxy_http_version 1.1; proxy_set_header Connection ""; }'
        more = {
            "gzip": f"gzip on; gzip_types text/plain; gzip_comp_level {GZIP_LEVEL};",
            "precompressed": "gzip_static on;",
            "tls": f"ssl_certificate {s.directory}/cert.pem; ssl_certificate_key {s.directory}/key.pem;\n"
                   "ssl_protocols TLSv1.2 TLSv1.3; ssl_session_cache shared:sessions:10m;",
            "proxy": f"upstream behind {{ server 127.0.0.1:{s.backend}; keepalive 128; "
                     "keepalive_requests 1000000000; }",
        }.get(self.variant, "")
        paths = "".join(f"{kind}_temp_path {self.dir}/{kind};\n"
                        for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        log = f"{self.dir}/access.log common{self.buffer}" if self.logs else "off"
        return "nginx.conf", f"""
daemon off;
pid {self.dir}/pid;
error_log {self.dir}/error.log;
{self.if_root("user www-data;")}
worker_processes {s.workers};
events {{ worker_connections 16384; }}
http {{
types {{ text/plain txt; }}
default_type application/octet-stream;
{paths}
sendfile on;
tcp_nopush {self.nopush};
keepalive_timeout 300;
keepalive_requests 1000000000;
open_file_cache max=20000 inactive=60s;
open_file_cache_valid 1s;
open_file_cache_min_uses 1;
open_file_cache_errors on;
log_format common '$remote_addr - $remote_user [$time_local] "$request" $status $body_bytes_sent';
access_log {log};
{more}
server {{
listen 127.0.0.1:{self.port} backlog=4096 deferred{" ssl http2" if self.tls else ""};
server_name localhost;
{where}
}}
}}
"""

    def command(self, path):
        return [self.program, "-p", self.dir, "-e", f"{self.dir}/error.log", "-c", path]


class TunedNginx(Nginx):
    name, title = "nginx-tuned", "nginx, tuned"
    note = "tcp_nopush on, access_log buffer=64k flush=1s: lines come up to a second late and die with it"
    buffer, nopush = " buffer=64k flush=1s", "on"


class H2o(Server):
    name, title, packages, program = "h2o", "h2o", ("h2o", "apache2-utils"), "/usr/bin/h2o"
    note = "log through Apache's rotatelogs; has no sendfile; its cache of open files lasts one turn of its loop"
    has_log_program = True

    def configuration(self):
        s = self.setting
        more = {"gzip": f"compress:\n  gzip: {GZIP_LEVEL}"}.get(self.variant, "")
        tls = f"\n  ssl:\n    certificate-file: {s.directory}/cert.pem\n    key-file: {s.directory}/key.pem"
        where = f'file.dir: "{s.site}"'
        if self.variant == "proxy":
            where = f'proxy.reverse.url: "http://127.0.0.1:{s.backend}/"'
        log = f"""
access-log:
  path: "|exec {self.log_command}"
  format: '%h %l %u %t "%r" %s %b'
"""
        return "h2o.conf", f"""
num-threads: {s.workers}
max-connections: 16384
{self.if_root("user: www-data")}
pid-file: {self.dir}/pid
error-log: {self.dir}/error.log
listen:
  host: 127.0.0.1
  port: {self.port}{tls if self.tls else ""}
http1-request-timeout: 300
http2-idle-timeout: 300
file.mime.settypes:
  text/plain: [".txt"]
  application/octet-stream: [".bin"]
{"file.send-compressed: ON" if self.variant == "precompressed" else ""}
{more}
{log if self.logs else ""}
hosts:
  default:
    paths:
      "/":
        {where}
"""

    def command(self, path):
        return [self.program, "-m", "worker", "-c", path]


class Lighttpd(Server):
    name, title, program = "lighttpd", "lighttpd", "/usr/sbin/lighttpd"
    packages = ("lighttpd", "lighttpd-mod-deflate", "lighttpd-mod-openssl", "apache2-utils")
    note = "log through Apache's rotatelogs; at most 65,535 requests a connection; precompressed: its deflate.cache-dir"
    has_log_program = True

    def configuration(self):
        s = self.setting
        os.mkdir(f"{self.dir}/deflated")
        if s.root:
            shutil.chown(f"{self.dir}/deflated", "www-data", "www-data")
        modules, more = ["mod_accesslog"] if self.logs else [], ""
        if self.variant in ("gzip", "precompressed"):
            modules.append("mod_deflate")
            more = 'deflate.mimetypes = ("text/plain")\ndeflate.allowed-encodings = ("gzip")\n' \
                   f'deflate.params = ("gzip" => {{"level" => {GZIP_LEVEL}}})\n'.replace("{", "(").replace("}", ")")
            if self.variant == "precompressed":
                more += f'deflate.cache-dir = "{self.dir}/deflated"'
        elif self.tls:
            modules.append("mod_openssl")
            more = f'ssl.engine = "enable"\nssl.pemfile = "{s.directory}/cert.pem"\n' \
                   f'ssl.privkey = "{s.directory}/key.pem"'
        elif self.variant == "proxy":
            modules.append("mod_proxy")
            more = f'proxy.server = ("" => (("host" => "127.0.0.1", "port" => {s.backend})))'
        log = f'accesslog.filename = "|{self.log_command}"\naccesslog.format = "%h %l %u %t \\"%r\\" %s %b"'
        return "lighttpd.conf", f"""
server.modules = ({", ".join(f'"{m}"' for m in modules)})
server.document-root = "{s.site}"
server.bind = "127.0.0.1"
server.port = {self.port}
server.pid-file = "{self.dir}/pid"
server.errorlog = "{self.dir}/error.log"
{self.if_root('server.username = "www-data"')}
{self.if_root('server.groupname = "www-data"')}
server.max-worker = {s.workers}
server.max-fds = 20000
server.max-connections = 16384
server.listen-backlog = 4096
server.defer-accept = 30
server.max-keep-alive-requests = 65535
server.max-keep-alive-idle = 300
server.max-read-idle = 300
server.network-backend = "sendfile"
mimetype.assign = (".txt" => "text/plain", "" => "application/octet-stream")
{log if self.logs else ""}
{more}
"""

    def command(self, path):
        return [self.program, "-D", "-f", path]


class Caddy(Server):
    name, title, packages, program = "caddy", "caddy", ("caddy",), "/usr/bin/caddy"
    note = "log to a file, as JSON (it has neither pipes nor the common format); threads: GOMAXPROCS"

    def configuration(self):
        s = self.setting
        where = f"root * {s.site}\nfile_server"
        if self.variant == "precompressed":
            where += " {\nprecompressed gzip\n}"
        elif self.variant == "proxy":
            where = f"reverse_proxy 127.0.0.1:{s.backend}"
        encode = f"encode {{\ngzip {GZIP_LEVEL}\n}}"
        log = f"log {{\noutput file {self.dir}/access.log {{\nroll_disabled\n}}\n}}"
        return "Caddyfile", f"""
{{
admin off
auto_https off
storage file_system {self.dir}
servers {{
timeouts {{
idle 300s
}}
}}
}}
{"https" if self.tls else "http"}://:{self.port} {{
bind 127.0.0.1
{f"tls {s.directory}/cert.pem {s.directory}/key.pem" if self.tls else ""}
{encode if self.variant == "gzip" else ""}
{log if self.logs else ""}
{where}
}}
"""

    def command(self, path):
        return [self.program, "run", "--config", path, "--adapter", "caddyfile"]


class Haproxy(Server):
    name, title, packages, program = "haproxy", "HAProxy", ("haproxy",), "/usr/sbin/haproxy"
    note = "only where it proxies; log to standard output, a file here"

    @classmethod
    def missing(cls, variant, setting):
        return None if variant == "proxy" else "serves no files"

    def configuration(self):
        return "haproxy.cfg", f"""
global
 nbthread {self.setting.workers}
 maxconn 9000
{self.if_root(" user www-data")}
{self.if_root(" group www-data")}
 log stdout format raw local0
defaults
 mode http
 log global
 option httplog clf
 timeout connect 5s
 timeout client 300s
 timeout server 300s
 timeout http-keep-alive 300s
 http-reuse always
frontend in
 bind 127.0.0.1:{self.port} backlog 4096
 default_backend behind
backend behind
 server one 127.0.0.1:{self.setting.backend}
"""

    def command(self, path):
        return [self.program, "-db", "-f", path]

    def logged(self, marker):
        with open(os.path.join(self.dir, "words"), errors="replace") as f:
            return marker in f.read()

    def forget_log(self):
        os.truncate(os.path.join(self.dir, "words"), 0)


ALL = {cls.name: cls for cls in (Ours, Nginx, TunedNginx, H2o, Lighttpd, Apache, Caddy, Haproxy, Floor)}
PEERS = [name for name in ALL if name not in ("ours", "floor")]
