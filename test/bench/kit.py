"""What the bench measures with: processes and their cost, page caches, samples and their ratios.

Ratios are taken round by round, of measurements made back to back, because other work on a machine moves absolute figures by far more
than it moves the ratio of two neighbours.
"""
import os
import re
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
TOP = HERE.parents[1]
BIN = TOP / "build" / "bench"
MIB = 1 << 20
TICKS = os.sysconf("SC_CLK_TCK")


def say(text):
    print(f"# {time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


class Failed(Exception):
    """A measurement that could not be made; its cell stays empty and the reason is shown below the table."""


def run(command, timeout=300, **options):
    """Runs a command that must succeed; its stdout."""
    options.setdefault("stdin", subprocess.DEVNULL)
    try:
        done = subprocess.run([str(c) for c in command], capture_output=True, text=True, timeout=timeout, **options)
    except subprocess.TimeoutExpired:
        raise Failed(f"{Path(str(command[0])).name} took more than {timeout} s")
    if done.returncode:
        tail = (done.stderr.strip() or done.stdout.strip() or "no output").splitlines()[-1][:160]
        raise Failed(f"{Path(str(command[0])).name} ended with {done.returncode}: {tail}")
    return done.stdout


def reader(*args, timeout=300):
    return float(run([BIN / "reader", *args], timeout=timeout))


def timed(command, env=None, stdout=subprocess.DEVNULL, timeout=300):
    """(seconds, CPU seconds, peak MiB) of a command that must succeed."""
    start = time.monotonic()
    with open(os.devnull) as null:
        child = subprocess.Popen([str(c) for c in command], stdin=null, stdout=stdout, stderr=subprocess.PIPE, env=env)
    # Its messages are few; they fit into the pipe.
    _, status, usage = os.wait4(child.pid, 0)
    took = time.monotonic() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    errors = child.stderr.read().decode(errors="replace").strip().splitlines()
    child.stderr.close()
    if child.returncode:
        raise Failed(f"{Path(str(command[0])).name} ended with {child.returncode}: {errors[-1][:160] if errors else ''}")
    return took, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def tree(pid):
    """A process and its descendants."""
    found = [pid]
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in path.read_text().split():
                found += tree(int(child))
        except OSError:
            pass
    return found


def cpu_seconds(pid):
    total = 0
    for p in tree(pid) if pid else []:
        try:
            fields = Path(f"/proc/{p}/stat").read_text().rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
        except OSError:
            pass
    return total / TICKS


def peak_mib(pid):
    total = 0
    for p in tree(pid) if pid else []:
        try:
            found = re.search(r"VmHWM:\s+(\d+)", Path(f"/proc/{p}/status").read_text())
            total += int(found.group(1)) if found else 0
        except OSError:
            pass
    return total / 1024


def can_drop():
    return os.access("/proc/sys/vm/drop_caches", os.W_OK)


def drop_pages():
    os.sync()
    Path("/proc/sys/vm/drop_caches").write_text("3\n")


def heat(*paths):
    """Files into the page cache, so that what a cold run measures is the client and not the server's disk."""
    for path in paths:
        path = Path(path)
        for file in [path] if path.is_file() else path.rglob("*") if path.exists() else []:
            if file.is_file():
                with open(file, "rb", buffering=0) as f:
                    while f.read(MIB):
                        pass


def is_mounted(path):
    with open("/proc/self/mountinfo") as table:
        return any(line.split()[4] == str(path) for line in table)


def unmount(path):
    for command in (["fusermount3", "-u", "-q"], ["umount"], ["umount", "-l"]):
        if not is_mounted(path):
            return
        subprocess.run([*command, str(path)], capture_output=True, timeout=60)


class Process:
    """A child in the foreground, stopped by its id."""

    def __init__(self, command, log, env=None, cwd=None):
        self.log = Path(log)
        with open(self.log, "ab") as out:
            self.child = subprocess.Popen([str(c) for c in command], stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=env, cwd=cwd,
                                          start_new_session=True)
        self.pid = self.child.pid

    def alive(self):
        return self.child.poll() is None

    def wait_until(self, ready, timeout=40):
        end = time.monotonic() + timeout
        while not ready():
            if not self.alive() or time.monotonic() > end:
                tail = self.log.read_text(errors="replace").strip().splitlines()[-1:]
                raise Failed(f"{self.child.args[0]} did not come up: {' '.join(tail)[:160]}")
            time.sleep(0.02)

    def stop(self, timeout=20):
        """Ends it; one that was unmounted ends by itself and is only waited for."""
        try:
            self.child.wait(0.5 if self.alive() else 0)
        except subprocess.TimeoutExpired:
            self.child.terminate()
        try:
            self.child.wait(timeout)
        except subprocess.TimeoutExpired:
            self.child.send_signal(signal.SIGKILL)
            self.child.wait()


class Samples:
    """Values by (what, who), one a round."""

    def __init__(self):
        self.values, self.failures = {}, []

    def add(self, what, who, value):
        self.values.setdefault(what, {}).setdefault(who, []).append(value)

    def take(self, what, who, measure, *args):
        """Adds what `measure` gives; a failure is kept for the end of the table."""
        try:
            value = measure(*args)
        except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
            self.failures.append(f"{what}, {who}: {error}")
            say(f"{what}, {who}: {error}")
            return None
        self.add(what, who, value)
        say(f"{what:24} {who:18} {value:.4g}")
        return value

    def of(self, what, who):
        return self.values.get(what, {}).get(who, [])

    def median(self, what, who):
        found = self.of(what, who)
        return statistics.median(found) if found else None

    def ratios(self, what, one, other, lower_is_better=False):
        """By round: how many times better `one` is than `other`."""
        pairs = list(zip(self.of(what, one), self.of(what, other)))
        return [(b / a if lower_is_better else a / b) for a, b in pairs if a and b]

    def best(self, what, among, lower_is_better=False):
        """The best of `among` by its median."""
        known = [(self.median(what, w), w) for w in among if self.of(what, w)]
        return (min(known) if lower_is_better else max(known))[1] if known else None


def number(x):
    if x is None:
        return "–"
    return f"{x:,.0f}" if abs(x) >= 100 else f"{x:.3g}"


def spread(values, unit=""):
    """Median and, with more than one round, smallest to largest."""
    if not values:
        return "–"
    text = number(statistics.median(values)) + unit
    return text + (f" ({number(min(values))}–{number(max(values))})" if len(values) > 1 else "")


def table(head, rows):
    """A Markdown table; its columns are padded so that it reads on a terminal too."""
    cells = [[str(c) for c in row] for row in [head, *rows]]
    width = [max(len(r[i]) for r in cells) for i in range(len(head))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(r, width)) + " |" for r in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in width) + "|")
    return "\n".join(lines)
