"""What is measured: the rows of the comparison and the goals for them."""

from dataclasses import dataclass

from . import site

KEEP = 64  # connections where the row does not say otherwise


@dataclass(frozen=True)
class Row:
    key: str
    title: str
    path: str = "/1k.bin"
    load: str = "wrk"            # wrk, h2load, handshakes, resumed or memory
    connections: int = KEEP
    threads: int = 1             # of wrk, where --threads does not say
    variant: str = "plain"       # of the configuration, see servers.VARIANTS
    against: str = ""            # a second variant that every server is measured with, too
    headers: tuple = ()
    depth: int = 1               # requests in one write (wrk), streams of a connection (h2load)
    many: int = 0                # files picked at random instead of the path
    conditional: bool = False    # asks with the validators of an answer before
    body: int = site.KIB         # bytes of the body, decoded
    encoded: bool = False        # the body must come as gzip
    floor: tuple = None          # arguments of bench_floor; None: there is no floor
    stretch: int = 1             # runs last so many times --duration
    rounds: int = 1              # so many times --runs; once with --quick
    quick: bool = False          # part of --quick
    calls: bool = True           # system calls are counted; not where many are for new connections


def floor(*arguments):
    return tuple(str(a) for a in arguments)


PLAIN = floor()
ROWS = [
    # Where wrk and two loops keep two cores busy, the kernel finds a good place for the three in some runs and a bad
    # one in others, for every server and the floor: p99 is 0.8 ms or 3 ms. A median of few runs would draw lots.
    Row("1k-64", "1 KiB, keep-alive, 64 connections", floor=PLAIN, rounds=4, quick=True),
    # With so many connections one thread of wrk is busy all the time and would be what is measured.
    Row("1k-1000", "1 KiB, keep-alive, 1,000 connections", connections=1000, threads=2, floor=PLAIN, calls=False),
    # Opening 8,000 connections is part of a run: a longer one keeps it small beside the requests.
    Row("1k-8000", "1 KiB, keep-alive, 8,000 connections", connections=8000, threads=2, floor=PLAIN,
        stretch=3, calls=False),
    Row("1k-close", "1 KiB, a connection per request", headers=("Connection: close",), floor=floor("--close"),
        quick=True),
    Row("1k-pipelined", "1 KiB, keep-alive, 16 requests in a write", depth=16, floor=floor("--repeat", 16)),
    Row("10k", "10 KiB, keep-alive", path="/10k.bin", body=10 * site.KIB, floor=floor("--body", 10 * site.KIB)),
    Row("100k", "100 KiB, keep-alive", path="/100k.bin", body=100 * site.KIB, floor=floor("--body", 100 * site.KIB),
        quick=True),
    Row("20m", "20 MiB, keep-alive, 8 connections", path="/20m.bin", body=20 * site.MIB, connections=8,
        rounds=4, floor=floor("--body", 20 * site.MIB)),
    Row("304", "conditional request, not modified", conditional=True, floor=floor("--status", 304), quick=True),
    Row("many", "10,000 files of 1 KiB at random", path=site.many(1), many=site.MANY, floor=PLAIN),
    Row("htaccess", "1 KiB below a .htaccess (obeyed by ours and Apache)", path="/tree/a/b/1k.bin",
        variant="htaccess", floor=PLAIN),
    Row("gzip", "50 KiB of text, gzip on the fly", path=site.TEXT, variant="gzip", headers=("Accept-Encoding: gzip",),
        body=50 * site.KIB, encoded=True),
    Row("precompressed", "50 KiB of text, gzip from a file", path=site.PRECOMPRESSED, variant="precompressed",
        headers=("Accept-Encoding: gzip",), body=50 * site.KIB, encoded=True),
    Row("logging", "1 KiB, keep-alive, access log on against off", against="nolog", calls=False),
    Row("memory", "memory of an idle connection, 8,000 of them", load="memory", connections=8000),
    Row("tls-handshake", "TLS, a full handshake per request, 4 clients", variant="tls", load="handshakes",
        connections=4),
    Row("tls-resumed", "TLS, a resumed handshake per request, 4 clients", variant="tls", load="resumed", connections=4,
        rounds=3),
    Row("tls-bulk", "TLS, 20 MiB, keep-alive, 8 connections", variant="tls", path="/20m.bin", body=20 * site.MIB,
        connections=8, rounds=3),
    Row("tls-memory", "memory of an idle TLS connection, 2,000 of them", variant="tls", load="memory",
        connections=2000),
    Row("http2", "HTTP/2 over TLS, 1 KiB, 8 connections of 100 streams", variant="tls", load="h2load", connections=8,
        depth=100),
    Row("proxied", "proxied to a server that answers 1 KiB", variant="proxy", path="/"),
]
BY_KEY = {row.key: row for row in ROWS}


@dataclass(frozen=True)
class Goal:
    """`value` of ours in a row divided by `over`'s is at most (`most`) or at least (`least`) a number."""

    row: str
    value: str           # cpu_us, rps, p99_us or bytes
    over: str            # "best peer", "floor", "log off"; "" = the value itself
    most: float = None
    least: float = None


# Of issue 6. "No worse" is a ratio of 1.
GOALS = [
    Goal("1k-64", "cpu_us", "best peer", most=0.80),
    Goal("1k-64", "cpu_us", "floor", most=1.35),
    Goal("1k-close", "cpu_us", "best peer", most=0.90),
    Goal("100k", "cpu_us", "best peer", most=1.00),
    Goal("20m", "cpu_us", "best peer", most=1.00),
    Goal("1k-64", "rps", "best peer", least=1.15),
    Goal("1k-1000", "rps", "best peer", least=1.15),
    Goal("1k-8000", "rps", "best peer", least=1.15),
    Goal("10k", "rps", "best peer", least=1.15),
    Goal("many", "rps", "best peer", least=1.15),
    Goal("1k-64", "p99_us", "best peer", most=1.00),
    Goal("1k-1000", "p99_us", "best peer", most=1.00),
    Goal("memory", "bytes", "", most=1024),
    Goal("logging", "cpu_us", "log off", most=1.08),
    Goal("tls-handshake", "cpu_us", "best peer", most=1.00),
    Goal("tls-resumed", "cpu_us", "best peer", most=1.00),
    Goal("tls-bulk", "cpu_us", "best peer", most=1.00),
    Goal("tls-memory", "bytes", "best peer", most=1.00),
    Goal("http2", "cpu_us", "best peer", most=1.00),
    Goal("proxied", "cpu_us", "best peer", most=1.00),
]
