"""What is asked of a lineage database of 10,000,000 folded reads and 100,000 runs: the questions that need no data but the database."""
import datetime
import json
import subprocess
import time

from kit import BIN, Failed, run, say

RUNS, READS = 100000, 10000000
FIRST = 1760000000  # when the first run began
# As lineage_big.c makes them, whose READS are of READS / 10 files in 1,000 versions: at least 1,000 runs and 10,000 reads.
PER_VERSION = READS // 10000


def _version(number):
    return f"bench/p{number:05d}/1.0.0"


RUN, VERSION, POPULAR = f"train-{RUNS // 20}", _version(501), _version(500)
_number = 500 * PER_VERSION + PER_VERSION // 2
FILE = f"{POPULAR}/train/class-{_number // 1000 % 1000:03d}/image-{_number:08d}.jpeg"
EACH = READS // RUNS
READ = _version((RUNS // 20 * 4 + 1) * 7919 * EACH % (PER_VERSION * 1000 - EACH) // PER_VERSION)
DENIED = _version(RUNS // 200 * 100 * 104729 % (PER_VERSION * 1000) // PER_VERSION)
# Each answers in under a second; the largest answers are 100,000 lines.
QUESTIONS = {
    "runs": ("runs",), "runs --run": ("runs", "--run", RUN), "reads --run": ("reads", "--run", RUN), "reads VERSION": ("reads", VERSION),
    "reads FILE": ("reads", FILE), "reads --run ADDRESS": ("reads", "--run", RUN, READ), "denials": ("denials",), "denials ADDRESS": ("denials", DENIED),
    "up": ("up", VERSION), "up OUTPUT": ("up", "/models/77.pt"), "down": ("down", POPULAR),
    "down FILE": ("down", FILE), "summary": ("summary", RUN),
    "export openlineage": ("export", "--format", "openlineage", "--run", RUN), "export json": ("export", "--format", "json", "--run", RUN),
}


class Questions:
    """The database, and a mesh that knows the domain of its versions."""

    def __init__(self, place, samples):
        self.place, self.samples = place, samples
        self.database = place.folder / "big.db"
        self.mesh = place.folder / "big.yaml"
        self.mesh.write_text(f'mesh: big\ndomains:\n  bench: {{ store: "file://{place.folder}/big-store" }}\nlineage: {{ db: {self.database} }}\n')

    def make(self):
        say(f"making a lineage of {RUNS} runs and {READS} reads")
        start = time.monotonic()
        run([BIN / "lineage_big", self.database, RUNS, READS], timeout=1800)
        self.samples.add("lineage made", "meshfs", time.monotonic() - start)
        self.samples.add("lineage size", "meshfs", self.database.stat().st_size / 2**30)

    def ask(self, count):
        for _ in range(count):
            for name, words in QUESTIONS.items():
                self.samples.take("lineage " + name, "meshfs", self._answer, *words)

    def _answer(self, *words):
        start = time.monotonic()
        lines = run([self.place.program, "-m", self.mesh, "lineage", *words], env=self.place.environment(), timeout=300).splitlines()
        took = time.monotonic() - start
        if not lines:
            raise Failed(f"no answer to lineage {' '.join(words)}")
        return took

    def scan(self):
        """What looks at every row by its nature: all reads as JSON, in memory that does not grow; all seals again."""
        for name, words in (("all reads", ("reads", "--json")), ("verify", ("verify",))):
            child = subprocess.Popen([self.place.program, "-m", self.mesh, "lineage", *words], stdout=subprocess.PIPE, env=self.place.environment())
            start, lines, peak = time.monotonic(), 0, 0
            while block := child.stdout.read(1 << 20):
                lines += block.count(b"\n")
                if lines and not peak or lines % 64 == 0:
                    peak = max(peak, _peak(child.pid))
            child.stdout.close()
            if child.wait():
                raise Failed(f"lineage {name} ended with {child.returncode}")
            self.samples.add(f"lineage {name}", "meshfs", time.monotonic() - start)
            if name == "all reads":
                self.samples.add("lineage all reads rss", "meshfs", peak)

    def prune(self):
        """Deletes the reads of the older half of the runs, which began a second apart; the seals must hold."""
        middle = datetime.datetime.fromtimestamp(FIRST + RUNS // 2, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        start = time.monotonic()
        told = run([self.place.program, "-m", self.mesh, "lineage", "prune", "--before", middle, "--json"], env=self.place.environment(), timeout=1800)
        self.samples.add("lineage prune", "meshfs", time.monotonic() - start)
        if not READS * 0.4 < json.loads(told)["reads"] < READS * 0.6:
            raise Failed(f"lineage prune: {told}")


def _peak(pid):
    try:
        with open(f"/proc/{pid}/status") as status:
            return next((int(line.split()[1]) / 1024 for line in status if line.startswith("VmHWM")), 0)
    except OSError:
        return 0


def rows(samples, figure):
    """The rows of the report."""
    size = samples.median("lineage size", "meshfs")
    figure(f"{READS:,} reads, {RUNS:,} runs: the database", size and f"{size:.2f} GiB", "< 2 GiB", size and size < 2)
    slowest = max(((samples.median("lineage " + n, "meshfs") or 0, n) for n in QUESTIONS), default=(0, ""))
    for name in QUESTIONS:
        took = samples.median("lineage " + name, "meshfs")
        if took is not None:
            figure(f"lineage {name}" + (" (the slowest)" if (took, name) == slowest else ""), f"{took:.3f} s", "< 1 s", took < 1)
    for name, label in (("all reads", "lineage reads, all of them"), ("verify", "lineage verify"), ("prune", "lineage prune of half of them")):
        took = samples.median("lineage " + name, "meshfs")
        if took is not None:
            figure(label, f"{took:.0f} s", "the speed of the scan")
    rss = samples.median("lineage all reads rss", "meshfs")
    figure("memory of listing all of them", rss and f"{rss:.1f} MiB", "bounded", rss and rss < 64)
