"""Measures one row: starts the servers, looks at an answer of each, runs the load round robin, counts system calls."""

import gzip
import os
import re
import signal
import statistics
import time

from . import load, processes, servers, site

OFF = ", no log"  # behind a server's name in the row that measures what the log costs


class Measurer:
    """@param options duration, runs, warm_up, threads, strace, peers_strace of the command line
    @param say called with a line of text on what is going on"""

    def __init__(self, setting, names, options, descriptors, without, say):
        self.setting, self.names, self.options, self.say = setting, names, options, say
        self.descriptors = descriptors  # limit of a process
        self.without = without          # tool: why it is not there

    def row(self, row):
        """{"left_out": {server: why}, "servers": {label: figures}}; figures have the runs and their medians."""
        left_out = {name: why for name in self.names if (why := self.why_not(row, name))}
        names = [name for name in self.names if name not in left_out]
        running, backend = {}, None
        try:
            if row.variant == "proxy":
                backend = servers.Floor(self.setting, "plain")
                backend.start()
                self.setting.backend = backend.port
            for name in names:
                for variant in [row.variant] + ([row.against] if row.against else []):
                    label = name + (OFF if variant == "nolog" else "")
                    try:
                        running[label] = self.start(row, name, variant)
                    except (servers.Failure, OSError, ValueError) as error:
                        left_out[label] = str(error)
            measure = self.memory if row.load == "memory" else self.rounds
            figures = measure(row, running, left_out)
        finally:
            for server in [*running.values(), *([backend] if backend else [])]:
                server.stop()
        return {"left_out": left_out, "servers": figures}

    def why_not(self, row, name):
        tool = {"wrk": "wrk", "h2load": "h2load"}.get(row.load)
        if tool in self.without:
            return self.without[tool]
        if row.variant == "tls" and "certificate" in self.without:
            return self.without["certificate"]
        if row.connections + 200 > self.descriptors:
            return f"not available: RLIMIT_NOFILE is {self.descriptors} and cannot be raised"
        if name == "floor":
            return "there is none" if row.floor is None else None
        cls = servers.ALL[name]
        if why := cls.missing(row.variant, self.setting):
            return why
        if name == "ours" and row.load == "h2load" and not cls.has_http2(self.setting):
            return "not available: no HTTP/2 yet"
        return None

    # ---- one server ------------------------------------------------------------------------------------------------

    def start(self, row, name, variant):
        server = servers.ALL[name](self.setting, variant)
        if name == "floor":
            server.arguments = row.floor
        try:
            server.start()
            server.headers = self.check(row, server)
        except Exception:
            server.stop()
            raise
        return server

    def check(self, row, server):
        """Looks at one answer, and at its line in our log. @return the headers that the load has to send"""
        if row.load == "h2load":
            headers = ()
        elif row.conditional:
            _, answer, _ = load.fetch(server.port, row.path, row.headers, server.tls)
            headers = [f"{ask}: {answer[said]}" for said, ask in
                       (("etag", "If-None-Match"), ("last-modified", "If-Modified-Since")) if said in answer]
        else:
            headers = row.headers
        marker = f"check={row.key}"
        depth = row.depth if server.name == "floor" else 1
        status, answer, body = load.fetch(server.port, f"{row.path}?{marker}", headers, server.tls)
        expected = 304 if row.conditional else 200
        if status != expected:
            raise servers.Failure(f"{server.title} answers {row.path} with {status}: {expected} expected\n"
                                  + server.last_words())
        if row.encoded and answer.get("content-encoding") != "gzip":
            raise servers.Failure(f"{server.title} does not send {row.path} as gzip")
        decoded = gzip.decompress(body) if row.encoded else body
        size = 0 if row.conditional else row.body
        if depth == 1 and len(decoded) != size:
            raise servers.Failure(f"{server.title} answers {row.path} with {len(decoded)} bytes: {size} expected")
        if server.name == "ours" and server.logs:
            deadline = time.monotonic() + 5
            while not server.logged(marker):
                if time.monotonic() > deadline:
                    raise servers.Failure(f"{server.title} does not log GET {row.path}?{marker}")
                time.sleep(0.02)
        return headers

    def run_load(self, row, server, seconds):
        url = f"{'https' if server.tls else 'http'}://127.0.0.1:{server.port}{row.path}"
        if row.load == "h2load":
            return load.h2load(url, row.connections, row.depth, seconds, self.options.threads or 1)
        if row.load in ("handshakes", "resumed"):
            return load.handshakes(server.port, row.path, row.connections, seconds, row.load == "resumed")
        done = load.wrk(url, row.connections, seconds, self.options.threads or row.threads, server.headers, row.depth,
                        row.many, self.setting.directory)
        if row.body >= site.MIB:  # few answers: those that have only begun count for what has come of them
            done.requests = done.bytes / row.body
        return done

    def once(self, row, server):
        """One run. CPU time is that of all the server's processes, from before the load starts until it has ended."""
        own, log = server.pids()
        before = processes.cpu_seconds(own), processes.cpu_seconds(log)
        done = self.run_load(row, server, self.options.duration * row.stretch)
        after = processes.cpu_seconds(own), processes.cpu_seconds(log)
        server.forget_log()
        if done.requests == 0:
            raise servers.Failure(f"{server.title}: not one answer in a run of {row.key}")
        in_log = (after[1] - before[1]) * 1e6 / done.requests
        figures = {"cpu_us": (after[0] - before[0]) * 1e6 / done.requests + in_log, "log_us": in_log,
                   "rps": done.requests / done.seconds, "p50_us": done.p50_us, "p99_us": done.p99_us,
                   "errors": done.errors, "requests": done.requests}
        if row.load == "resumed":
            figures["resumed"] = done.resumed
        return figures

    # ---- all servers -----------------------------------------------------------------------------------------------

    def rounds(self, row, running, left_out):
        runs = {label: [] for label in running}

        def attempt(label, work, *arguments):
            """What fails in one server is its own affair."""
            try:
                return work(*arguments)
            except (servers.Failure, RuntimeError, OSError) as error:
                left_out[label] = str(error)
                del runs[label]

        for label in list(runs):
            attempt(label, self.run_load, row, running[label], self.options.warm_up)
            running[label].forget_log()
        count = self.options.runs * (1 if self.options.quick else row.rounds)
        for number in range(count):
            self.say(f"{row.key}: run {number + 1} of {count}")
            labels = list(runs)
            first = number % max(1, len(labels))
            for label in labels[first:] + labels[:first]:  # nobody always comes after the same neighbour
                if figures := attempt(label, self.once, row, running[label]):
                    runs[label].append(figures)
        out = {label: summarise(of_it) for label, of_it in runs.items()}
        for label in list(out):
            server = running[label]
            if row.calls and row.load == "wrk" and self.options.strace and server.name != "floor" and (
                    server.name == "ours" or self.options.peers_strace):
                self.say(f"{row.key}: system calls of {label}")
                out[label]["calls"] = attempt(label, self.count_calls, row, server)
        return {label: out[label] for label in runs}

    def count_calls(self, row, server):
        """{"total": calls per request, "by_name": {call: per request}} of the server without its log program."""
        own, _ = server.pids()
        summary = os.path.join(self.setting.directory, "strace")
        command = ["strace", "-f", "-c", "-o", summary]
        for pid in own:
            command += ["-p", str(pid)]
        tracer = processes.start(command, stdout=open(os.devnull, "w"), stderr=open(os.devnull, "w"))
        try:
            deadline = time.monotonic() + 5
            while not all(traced(pid) for pid in own):
                if tracer.poll() is not None or time.monotonic() > deadline:
                    return None  # not allowed here
                time.sleep(0.02)
            done = self.run_load(row, server, self.options.duration)
        finally:
            if tracer.poll() is None:
                tracer.send_signal(signal.SIGINT)
                tracer.wait(20)
            processes.stop(tracer)
        server.forget_log()
        with open(summary) as f:
            calls = read_strace(f.read())
        return {"total": sum(calls.values()) / done.requests,
                "by_name": {name: count / done.requests for name, count in sorted(calls.items(), key=lambda c: -c[1])}}

    def memory(self, row, running, left_out):
        """Growth of private memory while connections idle, over their number. A server is started anew for every run:
        what it has once taken, it may keep."""
        out = {}
        for label in running:
            variant, runs = running[label].variant, []
            try:
                for number in range(min(3, self.options.runs)):
                    self.say(f"{row.key}: {label}, run {number + 1}")
                    if number > 0:
                        running[label].stop()
                        running[label] = self.start(row, label, variant)
                    runs.append({"bytes": self.growth(row, running[label])})
                out[label] = summarise(runs)
            except (servers.Failure, OSError) as error:
                left_out[label] = str(error)
        return out

    @staticmethod
    def growth(row, server):
        """Bytes per connection."""
        for _ in range(4):  # threads and tables that are made on first use
            for connection in load.hold(server.port, row.path, 16, server.tls):
                connection.close()
        time.sleep(0.3)
        before = processes.anonymous_bytes(server.pids()[0])
        held = load.hold(server.port, row.path, row.connections, server.tls)
        try:
            time.sleep(1)
            return (processes.anonymous_bytes(server.pids()[0]) - before) / len(held)
        finally:
            for connection in held:
                connection.close()


def traced(pid):
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/status") as f:
                if re.search(r"^TracerPid:\s*0$", f.read(), re.M):
                    return False
    except OSError:
        pass
    return True


def read_strace(text):
    """{call: count} of a summary of strace -c."""
    calls = {}
    for line in text.splitlines():
        found = re.match(r"\s*[\d.]+\s+[\d.]+\s+\d+\s+(\d+)(?:\s+\d+)?\s+(\w+)$", line)
        if found and found[2] != "total":
            calls[found[2]] = calls.get(found[2], 0) + int(found[1])
    return calls


def summarise(runs):
    out = {"runs": runs}
    for key in runs[0]:
        values = [run[key] for run in runs if run[key] is not None]
        if key in ("errors", "requests", "resumed"):
            out[key] = sum(values)
        else:
            out[key] = statistics.median(values) if values else None
    return out
