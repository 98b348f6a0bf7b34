"""Load generators, and single requests. Every load returns a Load; it stops by itself after its duration."""

import multiprocessing
import os
import re
import signal
import socket
import ssl
import subprocess
import time
from dataclasses import dataclass

from . import processes

SCRIPT_END = """
done = function(summary, latency, requests)
  local e = summary.errors
  io.write(string.format("RESULT %d %d %d %d %d %d\\n", summary.requests, summary.bytes, summary.duration,
                         e.connect + e.read + e.write + e.status + e.timeout,
                         latency:percentile(50), latency:percentile(99)))
end
"""
PIPELINED = """
init = function(args)
  requests = wrk.format():rep(DEPTH)
end
request = function() return requests end
"""
AT_RANDOM = """
init = function(args)
  math.randomseed(6)
  requests = {}
  for i = 1, COUNT do requests[i] = wrk.format("GET", string.format("/many/%05d.bin", i - 1)) end
end
request = function() return requests[math.random(COUNT)] end
"""


@dataclass
class Load:
    requests: float
    seconds: float
    errors: int
    p50_us: float = None
    p99_us: float = None
    bytes: int = None    # received, heads and unfinished answers, too
    resumed: int = None  # handshakes that took a session up again


def wrk(url, connections, duration, threads, headers=(), depth=1, many=0, directory="/tmp"):
    """wrk(1) for `duration` seconds, with parts of a second, too: it takes whole ones only, but ends well on SIGINT."""
    script = (PIPELINED.replace("DEPTH", str(depth)) if depth > 1 else
              AT_RANDOM.replace("COUNT", str(many)) if many else "") + SCRIPT_END
    path = os.path.join(directory, "load.lua")
    with open(path, "w") as f:
        f.write(script)
    command = ["wrk", "-t", str(threads), "-c", str(connections), "-d", f"{int(duration) + 1}s", "--timeout", "10s",
               "-s", path]
    for header in headers:
        command += ["-H", header]
    process = processes.start([*command, url], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        try:
            output = process.communicate(timeout=duration)[0]
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            output = process.communicate(timeout=30)[0]
    finally:
        processes.stop(process)
    found = re.search(r"^RESULT (\d+) (\d+) (\d+) (\d+) (\d+) (\d+)$", output, re.M)
    if not found:
        raise RuntimeError(f"wrk: {output.strip()[-500:]}")
    requests, size, microseconds, errors, p50, p99 = map(int, found.groups())
    # It corrects percentiles for requests that it sent late, and loses its way when they are pipelined.
    return Load(requests, microseconds / 1e6, errors, p50, p99 if p99 >= p50 else None, size)


def h2load(url, clients, streams, duration, threads):
    command = ["h2load", "-t", str(threads), "-c", str(clients), "-m", str(streams),
               "-D", f"{max(1, round(duration * 1000))}ms", url]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=duration + 15)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"h2load does not end: {(error.stdout or b'')[-300:]}") from error
    counts = re.search(r"requests: \d+ total, \d+ started, (\d+) done, (\d+) succeeded, (\d+) failed, (\d+) errored, "
                       r"(\d+) timeout", done.stdout)
    if not counts or "Application protocol: h2" not in done.stdout:
        raise RuntimeError(f"h2load: {(done.stdout + done.stderr).strip()[-500:]}")
    _, succeeded, failed, errored, late = map(int, counts.groups())
    return Load(succeeded, duration, failed + errored + late)


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def connect(port, context=None):
    """To 127.0.0.1, with TLS when there is a context. Nothing waits for an acknowledgement: a request after a handshake
    would, for 40 ms."""
    raw = socket.create_connection(("127.0.0.1", port), 10)
    raw.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return context.wrap_socket(raw, server_hostname="localhost") if context else raw


def trusting():
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def shake_hands(port, path, duration, resume, results):
    """A connection per request, one after the other; with `resume` each takes up the session of the one before.
    Puts (microseconds of each, how many were resumed, errors) into `results`."""
    context, session, resumed, errors, took = trusting(), None, 0, 0, []
    words = request(path, ["Connection: close"])
    begin = time.monotonic()
    while time.monotonic() - begin < duration:
        at = time.monotonic()
        try:
            with connect(port) as raw, context.wrap_socket(raw, server_hostname="localhost",
                                                           session=session if resume else None) as connection:
                connection.sendall(words)
                while connection.recv(65536):
                    pass
                resumed, session = resumed + connection.session_reused, connection.session
                took.append((time.monotonic() - at) * 1e6)
        except OSError:
            errors += 1
    results.put((took, resumed, errors))


def handshakes(port, path, clients, duration, resume):
    """Handshakes of `clients` processes of ours. They take more time than the server: what counts is its CPU time."""
    fork = multiprocessing.get_context("fork")
    results, begin = fork.Queue(), time.monotonic()
    running = [fork.Process(target=shake_hands, args=(port, path, duration, resume, results)) for _ in range(clients)]
    for process in running:
        process.start()
    took, resumed, errors = [], 0, 0
    for _ in running:
        one = results.get(timeout=duration + 60)
        took, resumed, errors = took + one[0], resumed + one[1], errors + one[2]
    seconds = time.monotonic() - begin
    for process in running:
        process.join()
    took.sort()
    if not took:
        return Load(0, seconds, errors)
    return Load(len(took), seconds, errors, took[len(took) // 2], took[len(took) * 99 // 100], resumed=resumed)


def read_answer(connection):
    """One whole answer. @return (status, {header: value}, body)"""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            raise OSError("the connection ended within the head")
        data += more
    head, body = data.split(b"\r\n\r\n", 1)
    lines = head.decode("latin-1").split("\r\n")
    headers = {key.lower(): value.strip() for key, value in (line.split(":", 1) for line in lines[1:])}
    status = int(lines[0].split()[1])
    if status == 304:
        return status, headers, body
    if headers.get("transfer-encoding") == "chunked":
        while not body.endswith(b"0\r\n\r\n"):
            more = connection.recv(1 << 20)
            if not more:
                raise OSError("the connection ended within the body")
            body += more
        whole, rest = b"", body
        while True:
            size, rest = rest.split(b"\r\n", 1)
            if int(size, 16) == 0:
                return status, headers, whole
            whole, rest = whole + rest[:int(size, 16)], rest[int(size, 16) + 2:]
    wanted = int(headers["content-length"]) if "content-length" in headers else None
    pieces, got = [body], len(body)
    while wanted is None or got < wanted:
        more = connection.recv(1 << 20)
        if not more:
            if wanted is None:
                break
            raise OSError("the connection ended within the body")
        pieces.append(more)
        got += len(more)
    return status, headers, b"".join(pieces)


def request(path, headers=()):
    return (f"GET {path} HTTP/1.1\r\nHost: localhost\r\n" + "".join(f"{h}\r\n" for h in headers) + "\r\n").encode()


def fetch(port, path, headers=(), tls=False):
    with connect(port, trusting() if tls else None) as connection:
        connection.sendall(request(path, headers))
        return read_answer(connection)


def hold(port, path, count, tls):
    """`count` connections, each idle after one request."""
    context, held, words = trusting() if tls else None, [], request(path)
    for _ in range(count):
        held.append(connect(port, context))
        held[-1].sendall(words)
        read_answer(held[-1])
    return held
