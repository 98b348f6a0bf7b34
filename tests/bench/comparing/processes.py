"""What the kernel says of processes: who descends from whom, their CPU time, memory and limit of descriptors."""

import ctypes
import os
import re
import resource
import signal
import subprocess
import time

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
libc = ctypes.CDLL(None, use_errno=True)


def adopt_orphans():
    """Makes us the parent of what a server leaves behind, so that stop() finds it."""
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def raise_descriptor_limit(wanted):
    """Descriptors that this process and its children may open; the most we could get, at least `wanted` when we can."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, wanted), hard):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return most
        except (OSError, ValueError):
            continue
    return soft


def start(command, **more):
    """Popen whose process gets SIGTERM should we die, and a process group of its own: ^C is ours alone."""
    def prepare():
        os.setpgid(0, 0)
        libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, preexec_fn=prepare, **more)


def family(pid):
    """`pid` and all its descendants, by the kernel's own lists."""
    out = [pid]
    try:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/children") as f:
                for child in f.read().split():
                    out += family(int(child))
    except OSError:
        pass
    return out


def name_of(pid):
    try:
        with open(f"/proc/{pid}/comm") as f:
            return f.read().strip()
    except OSError:
        return ""


def cpu_seconds(pids):
    """CPU time of all their threads. Nanoseconds from schedstat: /proc/PID/stat counts in ticks of 10 ms."""
    total = 0
    for pid in pids:
        try:
            for task in os.listdir(f"/proc/{pid}/task"):
                with open(f"/proc/{pid}/task/{task}/schedstat") as f:
                    total += int(f.read().split()[0])
        except OSError:
            pass
    return total / 1e9


def anonymous_bytes(pids):
    """What belongs to the processes alone: proportional share of anonymous and shared memory, no file pages."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/smaps_rollup") as f:
                total += sum(int(kib) for kib in re.findall(r"^Pss_(?:Anon|Shmem):\s+(\d+)", f.read(), re.M)) * 1024
        except OSError:
            pass
    return total


def stop(process):
    """Ends a process that start() made, and all it started: SIGTERM to the first, SIGKILL to what is left after 5 s."""
    if process.poll() is not None:
        return
    others = family(process.pid)[1:]
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(5)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    end(others)


def end(pids):
    """Waits up to 5 s for processes that have lost their parent, then kills them. Only those that descend from us."""
    deadline = time.monotonic() + 5
    while True:
        ours = set(family(os.getpid()))
        pids = [pid for pid in pids if pid in ours]
        if not pids:
            return
        for pid in pids:
            try:
                if time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                os.waitpid(pid, os.WNOHANG)
            except (ChildProcessError, ProcessLookupError):
                pass  # still somebody else's child, or gone
        time.sleep(0.01)


def end_all():
    """For the end of the program: whoever is still there, such as the workers of a server that crashed."""
    rest = family(os.getpid())[1:]
    for pid in rest:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
    end(rest)
