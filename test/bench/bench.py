"""scripts/bench: meshfs beside other file systems and the limits of the machine, in one run; see --help."""
import argparse
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cases
import others
import questions
import systems
from kit import BIN, TOP, Failed, Samples, can_drop, number, run, say, spread, table
from systems import Place, which

GROUPS = ("publish", "checks", "cold", "small", "warm", "epoch", "record", "views", "filters", "micro")
ASKED = ("lineage-big",)  # only when they are named


def arguments():
    p = argparse.ArgumentParser(prog="scripts/bench", description="Runs the same reads through meshfs and whichever peers are installed (rclone, juicefs, "
                                "s3fs, geesefs, mount-s3), all on one S3 server on loopback, with native files and parallel curl as limits, and prints "
                                "tables of ratios.  About ten minutes; everything it makes is in a temporary folder that is removed at the end.")
    p.add_argument("--quick", action="store_true", help="smaller data and fewer rounds: about three minutes")
    p.add_argument("--only", metavar="GROUPS", help=f"some of: {','.join(GROUPS + ASKED)}")
    p.add_argument("--peers", metavar="NAMES", help="only these peers, e.g. rclone,juicefs; none for none")
    p.add_argument("--scale", type=float, default=1, help="times the number of small files (20,000) and the size of the large one (512 MiB)")
    p.add_argument("--rounds", type=int, help="of each measurement (3)")
    p.add_argument("--million", type=int, nargs="?", const=1000000, metavar="N", help="also a version of 1,000,000 (or N) files; several minutes more")
    p.add_argument("--output", type=Path, metavar="FILE", help="the tables also into FILE")
    p.add_argument("--json", type=Path, metavar="FILE", help="all samples into FILE")
    return p.parse_args()


class Plan:
    """What one run does, and in which size."""

    def __init__(self, a):
        self.rounds = a.rounds or (2 if a.quick else 3)
        self.size = max(32, int((128 if a.quick else 512) * a.scale))
        self.files = max(200, int((4000 if a.quick else 20000) * a.scale))
        self.warm_files = min(self.files, 1500 if a.quick else 4000)
        self.cap = 4 if a.quick else 8
        self.table_size = 32 if a.quick else 128
        self.seconds = 1 if a.quick else 2
        self.groups = [g for g in GROUPS if not a.only or g in a.only.split(",")] + [g for g in ASKED if a.only and g in a.only.split(",")]
        self.million = a.million
        wanted = None if not a.peers else a.peers.split(",")
        self.peers = [k for k in systems.PEERS if k.installed() and (wanted is None or k.name in wanted)]

    def has(self, *groups):
        return any(g in self.groups for g in groups)


def make_data(place, plan):
    """One large table, shards, and many small files of 8 KiB cut from a table."""
    for product in ("big", "shards", "small"):
        (place.data / product).mkdir()
    with open(place.data / "big" / "big.csv", "wb") as out:
        subprocess.run([BIN / "make_people", "csv", str(plan.size)], stdout=out, check=True)
    for i in range(cases.SHARDS):
        with open(place.data / "shards" / f"shard{i:02}.csv", "wb") as out:
            subprocess.run([BIN / "make_people", "csv", "4", str(i + 1)], stdout=out, check=True)
    with open(place.data / "big" / "big.csv", "rb") as source:
        for i in range(plan.files):
            if i % 100 == 0:
                folder = place.data / "small" / f"d{i // 100:03}"
                folder.mkdir()
            if source.tell() + 8192 > plan.size << 20:
                source.seek(0)
            (folder / f"f{i % 100:03}.csv").write_bytes(source.read(8192))


def measure(place, samples, plan):
    products = [p for p, groups in (("big", ("publish", "cold", "warm")), ("small", ("publish", "small", "epoch", "record")), ("shards", ("cold",)))
                if plan.has(*groups)]
    say(f"making the data: {plan.size} MiB, {plan.files} small files")
    make_data(place, plan)
    others.publish(place, samples, plan.rounds if plan.has("publish") else 1, products)
    make = place.system
    mesh = make(systems.Meshfs)
    peers = [make(k) for k in plan.peers] if plan.has("cold", "small", "warm", "epoch") else []
    for peer in peers:
        if isinstance(peer, systems.Juicefs):
            say("filling juicefs")
            try:
                peer.fill([place.data / p for p in products])
            except Failed as error:
                samples.failures.append(f"juicefs: {error}")
                peers = [p for p in peers if p is not peer]
    limits = [make(k) for k in (systems.Native, systems.Bindfs) if k.installed()]
    native = limits[:1]
    cold = cases.Cold(place, samples, plan.size)
    warm = cases.Warm(place, samples)
    keep = make(systems.MeshfsKeepCache)
    def group(name, *steps):
        """A group that cannot be measured does not end the others."""
        for step, *values in steps if plan.has(name) or name == "million" else ():
            try:
                step(*values)
            except (Failed, OSError, ValueError, subprocess.SubprocessError) as error:
                samples.failures.append(f"{name}: {error}")
                say(f"{name}: {error}")

    group("cold", (cold.sequential, plan.rounds, [mesh, *peers]), (cold.random, plan.rounds, [mesh, *peers]), (cold.first, [mesh, *peers]))
    group("small", (cold.small, plan.rounds, [mesh, *peers, *limits], plan.cap))
    group("warm", (warm.large, plan.rounds, [*native, mesh, keep, *peers], plan.seconds))
    group("epoch", (warm.epochs, plan.rounds, [mesh, keep, *peers, *limits], plan.warm_files, plan.cap))
    group("record", (warm.record, 3 * plan.rounds, mesh, make(systems.MeshfsUnrecorded), plan.warm_files))
    group("views", (others.views, place, samples, plan.rounds, make(systems.MeshfsView), mesh, plan.table_size))
    group("filters", (others.filters, place, samples, plan.rounds, plan.table_size))
    group("checks", (others.checks, place, samples, plan.rounds, plan.table_size))
    group("micro", (others.micro, samples), (others.journal, place, samples))
    if plan.has("lineage-big"):
        big = questions.Questions(place, samples)
        group("lineage-big", (big.make,), (big.ask, plan.rounds), (big.scan,), (big.prune,))
    if plan.million:
        group("million", (cases.million, place, samples, mesh, plan.million))


class Report:
    """The tables, from what was measured."""

    def __init__(self, samples, plan):
        self.s, self.plan = samples, plan
        self.peers = [k.name for k in plan.peers]
        self.rows = []

    def against(self, label, what, unit, among, aim, lower=False, who="meshfs", least=None):
        """A row: meshfs against the best of `among`."""
        best = self.s.best(what, among, lower)
        mine = self.s.of(what, who)
        if not mine:
            return
        ratios = self.s.ratios(what, who, best, lower) if best else []
        met = "" if least is None or not ratios else "yes" if statistics.median(ratios) >= least else "**no**"
        self.rows.append([label, spread(mine, unit), f"{best} {spread(self.s.of(what, best), unit)}" if best else "–",
                          spread(ratios) + " ×" if ratios else "–", aim, met])

    def figure(self, label, value, aim, met=None):
        if value not in (None, "–"):
            self.rows.append([label, value, "", "", aim, "" if met is None else "yes" if met else "**no**"])

    def main(self):
        p, s = self.peers, self.s
        for who, aim, least in (("meshfs", "≥ 0.95", .95), ("meshfs keep-cache", "≥ 0.9", .9)):
            label = "" if who == "meshfs" else ", keep-cache"
            for what, unit in (("warm seq", " MiB/s"), ("warm random 4k", "/s"), ("warm random 128k x8", "/s")):
                self.against(what + label, what, unit, ["native"], aim, who=who, least=least)
        self.against("cold sequential, best peer", "cold seq", " MiB/s", p, "≥ 2", least=2)
        self.against("cold sequential, curl", "cold seq", " MiB/s", ["curl"], "≥ 0.6", least=.6)
        self.against("peak memory of it", "cold rss", " MiB", p, "≥ 3", lower=True, least=3)
        self.against("CPU of it, s a GiB", "cold cpu", "", p, "", lower=True)
        self.against("cold random 128 KiB", "cold random", "/s", p, "> 1", least=1)
        self.against("time to first byte", "first byte", " ms", p, "> 1", lower=True, least=1)
        self.against(f"cold epoch, {self.plan.files} × 8 KiB, 8 threads", "epoch cold", "/s", p, "≥ 8", least=8)
        self.against("the same against bindfs", "epoch cold", "/s", ["bindfs"], "")
        self.against("`ls -lR` cold", "ls cold", " s", p, "≥ 5", lower=True, least=5)
        for what, label in (("epoch warm 1", "warm epoch, 1 thread"), ("epoch warm 8", "warm epoch, 8 threads"), ("epoch dropped 1", "the same, pages dropped, 1"),
                            ("epoch dropped 8", "pages dropped, 8")):
            self.against(label, what, "/s", p, "> 1", least=1)
        for what, label in (("record epoch 1", "recording on against off, 1 thread"), ("record epoch 8", "recording on against off, 8 threads")):
            self.against(label, what, "/s", ["meshfs unrecorded"], "> 0.97", least=.97)
        for product, label in (("big", f"publish {self.plan.size} MiB"), ("small", f"publish {self.plan.files} small files")):
            self.against(label, f"publish {product}", " s", ["rclone copy", "s5cmd cp"], "≥ 1.5", lower=True, least=1.5)
            self.against("peak memory of it", f"publish {product} rss", " MiB", ["rclone copy", "s5cmd cp"], "bounded", lower=True)
        for kind, label in (("csv", "CSV"), ("parquet", "Parquet")):
            for who in ("checked", "personal data only"):
                with_what = "a contract's checks" if who == "checked" else "the search for personal data alone"
                for where, what in (("", ""), (" link", f", over {others.LINK_MBIT // 1000} Gbit/s")):
                    self.against(f"publish {label} with {with_what}{what}", f"checks {kind}{where}", " s", ["unchecked"], "≥ 0.77", lower=True, who=who,
                                 least=1 / 1.3)
            self.against(f"publish {label} with a contract's checks, against the search alone", f"checks {kind}", " s", ["personal data only"], "≥ 0.77", lower=True,
                         who="checked", least=1 / 1.3)
            self.against(f"CPU of {label} with checks", f"checks {kind} cpu", " s", ["unchecked"], "", lower=True, who="checked")
            self.against("peak memory of it", f"checks {kind} rss", " MiB", ["unchecked"], "bounded", lower=True, who="checked")
        self.against("CSV view, one core, DuckDB or Polars", "filter csv", " MiB/s", ["duckdb", "polars"], "≥ 3", least=3)
        if s.of("filter csv", "miller"):
            self.against("CSV view, miller", "filter csv", " MiB/s", ["miller"], "≥ 10", least=10)
        self.against("CSV view, wc -l", "filter csv", " MiB/s", ["wc -l"], "≥ 0.15", least=.15)
        self.against("JSONL view, DuckDB", "filter jsonl", " MiB/s", ["duckdb"], "≥ 3", least=3)
        self.against("JSONL view, jq", "filter jsonl", " MiB/s", ["jq"], "≥ 20", least=20)
        self.against("CSV view through the mount, warm, 128 KiB", "view warm", "/s", ["native"], "≥ 0.95", least=.95)
        self.figure("CSV view through the mount, cold", spread(s.of("view cold", "meshfs"), " MiB/s of source"), "")
        self.against("Parquet without 2 columns, file", "parquet columns", " s", ["native"], "≥ 0.9", lower=True, who="meshfs view", least=.9)
        self.against("Parquet, same columns unfiltered", "parquet columns", " s", ["meshfs"], "≥ 0.9", lower=True, who="meshfs view", least=.9)
        fetched = [s.median("parquet fetched", w) for w in ("meshfs view", "meshfs", "file")]
        if all(fetched):
            self.figure("Parquet: bytes fetched", f"{number(fetched[0])} of {number(fetched[1])} MiB unfiltered", "without the dropped",
                        fetched[0] <= fetched[1] - 0.9 * s.median("parquet fetched", "dropped"))
        for name in s.values.get("decision", {}):
            self.figure(f"a decision, {name}", spread(s.of("decision", name), " µs"), "< 10 µs", s.median("decision", name) < 10)
        if s.of("journal ns", "repeated"):
            self.figure("a record, files seen before", spread(s.of("journal ns", "repeated"), " ns"), "< 200 ns", s.median("journal ns", "repeated") < 200)
            self.figure("a record, new files", spread(s.of("journal ns", "distinct"), " ns"), "< 200 ns", s.median("journal ns", "distinct") < 200)
            self.figure("new opens into the database", spread(s.of("journal rate", "sustained"), "/s"), "≥ 20,000/s", s.median("journal rate", "sustained") >= 20000)
        if self.plan.has("lineage-big"):
            questions.rows(s, self.figure)
        n = self.plan.million
        if n:
            self.figure(f"{n} files: mount and first ls", spread(s.of("million first ls", "meshfs"), " s"), "< 1 s", (s.median("million first ls", "meshfs") or 9) < 1)
            self.figure("its memory, all of them listed", spread(s.of("million rss", "meshfs"), " MiB"), "< 200 MiB", (s.median("million rss", "meshfs") or 999) < 200)
            self.figure("find over all of them", spread(s.of("million find", "meshfs"), " s"), "")
            self.figure("its publication", spread(s.of("million publish", "meshfs"), " s"), "")
        return table(["what", "meshfs", "against", "ratio", "aim", "met"], self.rows)

    def all(self):
        """Every median, by system."""
        names = []
        for by in self.s.values.values():
            names += [n for n in by if n not in names]
        names = [n for n in names if any(n in self.s.values.get(w, {}) for w in ("cold seq", "ls cold", "warm seq", "epoch warm 1"))]
        units = {"cold seq": "MiB/s", "cold cpu": "CPU s/GiB", "cold rss": "MiB", "cold random": "reads/s", "first byte": "ms", "ls cold": "s", "epoch cold": "files/s",
                 "epoch cpu": "CPU ms/file", "epoch rss": "MiB", "warm seq": "MiB/s", "warm random 4k": "reads/s", "warm random 128k x8": "reads/s",
                 "epoch warm 1": "files/s", "epoch warm 8": "files/s", "epoch dropped 1": "files/s", "epoch dropped 8": "files/s"}
        rows = [[f"{what}, {unit}", *(number(self.s.median(what, n)) for n in names)] for what, unit in units.items() if what in self.s.values]
        return table(["median", *names], rows) if rows else ""


def versions():
    """Of what takes part, as each program tells it."""
    found = []
    for name, option in (("rclone", "version"), ("juicefs", "version"), ("s3fs", "--version"), ("bindfs", "--version"), ("geesefs", "--version"),
                         ("mount-s3", "--version"), ("versitygw", "--version"), ("s5cmd", "version"), ("curl", "--version"), ("jq", "--version")):
        if which(name):
            done = subprocess.run([which(name), option], capture_output=True, text=True, env=systems.ENV, timeout=30)
            lines = (done.stdout or done.stderr).strip().splitlines()
            words = next((w for line in lines for w in line.replace("V", "v", 1).split() if any(c.isdigit() for c in w) and "." in w), "")
            found.append(f"{name} {words}".strip().rstrip(","))
    for module in ("duckdb", "polars"):
        done = subprocess.run([sys.executable, "-c", f"import {module}; print({module}.__version__)"], capture_output=True, text=True)
        if done.returncode == 0:
            found.append(f"{module} {done.stdout.strip()}")
    return ", ".join(found)


def machine(place, load):
    model = next((line.split(":")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
    memory = int(next(line.split()[1] for line in open("/proc/meminfo") if line.startswith("MemTotal"))) >> 20
    return (f"{time.strftime('%Y-%m-%d %H:%M')} UTC; {os.cpu_count()} CPUs ({model}), {memory} GiB of memory, kernel {platform.release()}; "
            f"load before the run {load[0]:.1f}; S3 server {place.s3.name} on loopback.\n{versions()}.")


def main():
    a = arguments()
    plan = Plan(a)
    os.environ["TZ"] = "UTC"
    time.tzset()
    load = os.getloadavg()
    base = os.environ.get("TMPDIR", "/tmp")
    free = shutil.disk_usage(base).free >> 20
    if free < 8 * plan.size + 4096:
        raise SystemExit(f"bench: {base} has {free} MiB free, and {8 * plan.size + 4096} are needed; set TMPDIR, or use --quick or --scale")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    samples, place, started = Samples(), None, time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="meshfs-bench.", dir=base))
    try:
        place = Place(folder)
        about = machine(place, load)
        measure(place, samples, plan)
    finally:
        if place:
            place.close()
        shutil.rmtree(folder, ignore_errors=True)
    report = Report(samples, plan)
    text = "\n\n".join(x for x in (about, report.main(), report.all(),
                                   "Medians, and in brackets the smallest and largest round; ratios are above 1 where meshfs is better."
                                   + ("" if can_drop() else "  Not root: page caches could not be dropped.")
                                   + f"  The run took {time.monotonic() - started:.0f} s; the load after it was {os.getloadavg()[0]:.1f}.",
                                   "Not measured: " + "; ".join(dict.fromkeys(samples.failures)) if samples.failures else "") if x)
    print(text)
    if a.output:
        a.output.write_text(text + "\n")
    if a.json:
        a.json.write_text(json.dumps(samples.values, indent=1))


if __name__ == "__main__":
    main()
