"""What is measured beside mounts: publishing, filters of tables, decisions, the journal."""
import os
import re
import shutil
import subprocess
import sys
import time

from kit import BIN, HERE, MIB, Failed, heat, reader, run, say, timed
from systems import BUCKET, CHECKED, CONTRACT, ENV, S3, Link, which
from cases import metric, rounds


PARQUET_MIB = 96  # several row groups, and columns far larger than the chunks that they are fetched by


def publish(place, samples, count, products):
    """The same files to the same server: each round to a place of its own, since what is there already is not sent again."""
    ways = ["meshfs"] + [name for name in ("rclone copy", "s5cmd cp") if which(name.split()[0])]
    for r in range(count):
        for product in products:
            source = place.data / product
            for way in ways[r % len(ways):] + ways[:r % len(ways)]:
                heat(source)
                samples.take(f"publish {product}", way, _publish, place, samples, r, product, source, way)
            size = sum(f.stat().st_size for f in source.rglob("*") if f.is_file()) / MIB
            samples.values.setdefault(f"size {product}", {}).setdefault("data", [size])
        # The first round's copies are what the mounts read.
        if r:
            for prefix in (f"mesh{r}", f"plain{r}"):
                shutil.rmtree(place.s3.files(prefix), ignore_errors=True)
        shutil.rmtree(place.s3.files(f"other{r}"), ignore_errors=True)


def _publish(place, samples, r, product, source, way):
    number = str(r) if r else ""
    if way == "meshfs":
        domain = f"bench{number}"
        if r and f"{domain}:" not in place.mesh.read_text():
            place.domain(domain, f"mesh{number}")
        command = [place.program, "-q", "-m", place.mesh, "publish", f"{domain}/{product}/1.0.0", source]
        env = place.environment()
    elif way == "rclone copy":
        command = [which("rclone"), "--config", place.rclone_config, "copy", "--transfers", "8", "--s3-no-check-bucket", source,
                   f"s3:{BUCKET}/plain{number}/{product}"]
        env = ENV
    else:
        command = [which("s5cmd"), "--log", "error", "--endpoint-url", place.s3.url, "cp", f"{source}/", f"s3://{BUCKET}/other{r}/{product}/"]
        env = ENV
    took, cpu, peak = timed(command, env=env)
    samples.add(f"publish {product} cpu", way, cpu)
    samples.add(f"publish {product} rss", way, peak)
    return took


LINK_MBIT = 1000


def checks(place, samples, count, size):
    """The same file to the same store with the checks of a contract, with the search for personal data alone, and by a program that does not look into
    it: to the store on this machine's processors, and over a link as a store elsewhere is reached."""
    folder = place.folder / "checked"
    (folder / "csv").mkdir(parents=True)
    source = folder / "csv" / "people.csv"
    with open(source, "wb") as out:
        subprocess.run([BIN / "make_people", "csv", str(size)], stdout=out, check=True)
    kinds = {"csv": source}
    if _has("duckdb"):
        (folder / "parquet").mkdir()
        kinds["parquet"] = folder / "parquet" / "people.parquet"
        run([sys.executable, HERE / "filter_peer.py", "duckdb", "convert", source, kinds["parquet"]])
    for kind in kinds:
        (folder / f"{kind}.yaml").write_text(CHECKED.format(kind=kind))
    _check(place, samples, 2 * count, folder, kinds, "bench", place.s3, "")
    try:
        link = Link(folder, LINK_MBIT)
    except (Failed, OSError) as error:
        samples.failures.append(f"checks over a link: {error}")
    else:
        _check_over(link, place, samples, count, folder, kinds)
    shutil.rmtree(folder)


def _check_over(link, place, samples, count, folder, kinds):
    s3 = None
    try:
        (folder / "far").mkdir()
        s3 = S3(folder / "far", link)
        place.domain("far", "far", s3)
        _check(place, samples, count, folder, kinds, "far", s3, " link")
    finally:
        if s3:
            s3.process.stop()
        link.process.stop()


def _check(place, samples, rounds, folder, kinds, domain, s3, suffix):
    for kind, path in kinds.items():
        ways = [("checked", place.program, ["--contract", folder / f"{kind}.yaml"]), ("personal data only", place.program, []),
                ("unchecked", BIN / "meshfs_unchecked", [])]
        for r in range(rounds):
            for n, (way, program, more) in enumerate(ways[r % 3:] + ways[:r % 3]):
                heat(path.parent)
                command = s3.inside([program, "-q", "-m", place.mesh, "publish", f"{domain}/checks-{kind}-{r}-{n}/1.0.0", path.parent, *more])
                samples.take(f"checks {kind}{suffix}", way, _checked, place, samples, f"{kind}{suffix}", way, command)


def _checked(place, samples, kind, way, command):
    took, cpu, peak = timed(command, env={**place.environment(), **{k: v for k, v in os.environ.items() if k == "MESHFS_DUCKDB"}})
    samples.add(f"checks {kind} cpu", way, cpu)
    samples.add(f"checks {kind} rss", way, peak)
    return took


def micro(samples):
    """The programs that measure one module by itself."""
    for line in run([BIN / "decide_bench"]).splitlines():
        found = re.match(r"(.*\S)\s+version ([\d.]+) us, file ([\d.]+) us", line)
        if found:
            samples.add("decision", found.group(1), float(found.group(2)) + float(found.group(3)))


def journal(place, samples, records=300000):
    """Three times: what other work of the machine does to the processor's caches moves one run by half."""
    for turn in range(3):
        for line in run([BIN / "journal_bench", place.folder / f"journal{turn}.db", str(records)]).splitlines():
            found = re.match(r"(\w+).*?([\d.]+) CPU ns/record\s+(\d+) records/s", line)
            if found:
                samples.add("journal ns", found.group(1), float(found.group(2)))
                samples.add("journal rate", found.group(1), float(found.group(3)))


def filters(place, samples, count, size):
    """Two of eight columns dropped, rows of one country of sixteen, the e-mail masked; one core, the same bytes for all."""
    rates = {}
    for kind in ("csv", "jsonl"):
        path = place.folder / f"people.{kind}"
        with open(path, "wb") as out:
            subprocess.run([BIN / "make_people", kind, str(size)], stdout=out, check=True)
        for _ in range(count):
            # Both formats in one call; a round is a call and the peers after it.
            if kind == "csv":
                for line in run([BIN / "view_bench", str(size)]).splitlines():
                    found = re.match(r"(\w+)\s+drop 2, filter, partial\s+(\d+) MiB/s", line)
                    if found:
                        samples.add(f"filter {found.group(1)}", "meshfs", float(found.group(2)))
                        rates[found.group(1)] = True
            heat(path)
            for peer, command in _filter_peers(kind, path).items():
                samples.take(f"filter {kind}", peer, _filter, command, size, path)
        path.unlink()


def _filter(command, size, path):
    """MiB a second of one core's time: as view_bench counts it, without what other work of the machine takes.  The engines tell theirs, without their start."""
    heat(path)
    if command[0] == sys.executable:
        return size / float(run(command, env={**ENV, "POLARS_MAX_THREADS": "1"}))
    return size / max(timed(command, env=ENV)[1], 0.001)


def _filter_peers(kind, path):
    peers = {}
    for module in ("duckdb", "polars"):
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0:
            peers[module] = [sys.executable, HERE / "filter_peer.py", module, kind, path, "/dev/null"]
    if kind == "csv":
        peers["wc -l"] = ["wc", "-l", path]
        if which("mlr"):
            peers["miller"] = ["mlr", "--icsv", "--ocsv", "filter", '$country=="DE"', "then", "put", '$email=sub($email,"^(.)[^@]*@","\\1***@")', "then", "cut",
                               "-x", "-f", "ts,notes", path]
    elif which("jq"):
        peers["jq"] = ["jq", "-c", 'select(.country=="DE")|.email|=sub("^(?<a>.)[^@]*@";"\\(.a)***@")|del(.ts,.notes)', path]
    return peers


def views(place, samples, count, system, raw, size):
    """A filtered table and a Parquet file without two columns, through the mount, against files of the same bytes."""
    folders = {name: place.folder / "tables" / name for name in ("people", "table")}
    for folder in folders.values():
        folder.mkdir(parents=True)
    with open(folders["people"] / "people.csv", "wb") as out:
        subprocess.run([BIN / "make_people", "csv", str(size)], stdout=out, check=True)
    products = {"people": "csv"}
    parquet = folders["table"] / "people.parquet"
    if _has("duckdb"):
        run([sys.executable, HERE / "filter_peer.py", "duckdb", "wide", str(PARQUET_MIB), parquet])
        products["table"] = "parquet"
    for product, kind in products.items():
        contract = place.folder / f"{product}.yaml"
        contract.write_text(CONTRACT.format(kind=kind))
        place.meshfs("publish", f"bench/{product}/1.0.0", folders[product], "--contract", contract,
                     *(["--with-failures", "its checks are not what is measured"] if kind == "parquet" else []))
    for _ in range(count):
        samples.take("view cold", "meshfs", _view_cold, system, size)
        system.stop()
    system.start()
    path = system.path("people", "people.csv")
    copy = place.folder / "derived.csv"
    shutil.copyfile(path, copy)
    for _ in range(3):
        reader("seq", path)
        time.sleep(0.3)
    for _ in range(2 * count):
        reader("seq", path)
        samples.take("view warm", "meshfs", reader, "random", path, 128 << 10, 1, 0.5)
        reader("seq", copy)
        samples.take("view warm", "native", reader, "random", copy, 128 << 10, 1, 0.5)
    system.stop()
    if "table" in products:
        _parquet(place, samples, count, system, raw, parquet)


def _view_cold(system, size):
    """MiB of source a second: fetched, verified, filtered, served; the size is computed first, as `stat` asks for it."""
    system.fresh("people")
    start = time.monotonic()
    reader("seq", system.path("people", "people.csv"))
    return size / (time.monotonic() - start)


def _parquet(place, samples, count, system, raw, source):
    columns = [sys.executable, HERE / "filter_peer.py", "duckdb", "columns"]
    for mount in (raw, system):
        mount.fresh("table")
        run([*columns, mount.path("table", "people.parquet"), "-"], env=ENV)
        shutil.copyfile(mount.path("table", "people.parquet"), place.folder / "all.parquet")
        samples.add("parquet fetched", mount.name, metric(mount, "fetched_bytes_total") / MIB)
    samples.add("parquet fetched", "file", source.stat().st_size / MIB)
    dropped = float(run([sys.executable, HERE / "filter_peer.py", "duckdb", "size", source, "-"], env=ENV))
    samples.add("parquet fetched", "dropped", dropped)
    if source.stat().st_size < 64 * MIB:
        raise Failed("the Parquet file is too small to tell anything")
    if samples.median("parquet fetched", system.name) > samples.median("parquet fetched", raw.name) - 0.9 * dropped:
        raise Failed("bytes of dropped columns were fetched")
    for r in range(2 * count):
        for name, path in (("native", source), ("meshfs", raw.path("table", "people.parquet")), ("meshfs view", system.path("table", "people.parquet"))):
            samples.take("parquet columns", name, lambda p=path: float(run([*columns, p, "5"], env=ENV)))
    for mount in (raw, system):
        mount.stop()


def _has(module):
    return subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True).returncode == 0
