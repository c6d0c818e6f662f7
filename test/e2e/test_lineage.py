"""Lineage: what a client opened, by its own log, against what the database says; questions over runs, versions and outputs.

The oracle is the client's log and Python's SQLite, not the program under test.
"""
import collections
import hashlib
import json
import os
import random
import re
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from meshkit import binary, unmount
from servers import wait_for

TOP = Path(__file__).resolve().parents[2]
SCHEMAS = TOP.parent / "shared" / "conformance" / "openlineage"

READ_FIELDS = set("run purpose user pid exe address version file view policy outcome opens bytes first last".split())
RUN_FIELDS = set("run name purpose user command started ended exit reads".split())


@pytest.fixture
def orders(mesh, fuse):
    """sales/orders/1.0.0 with twenty files."""
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {f"d{i % 3}/part-{i}.csv": f"id\n{i}\n" for i in range(20)})
    return mesh


def database(mesh):
    found = [Path(str(p).removesuffix(".journals")) for p in mesh.folder.rglob("*.journals")]
    assert len(found) == 1
    return found[0]


def opens(mesh, *args):
    """{address: opens} of what was served."""
    total = collections.Counter()
    for row in mesh.json("lineage reads", *args):
        if row["outcome"] == "served":
            total[row["address"]] += row["opens"]
    return total


FILES = [f"d{i % 3}/part-{i}.csv" for i in range(20)]

# Opens files and writes a line for each before the next: what was answered, in the client's own words.
CLIENT = """
import os, random, sys
root, log, seed, count = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
files = sys.argv[5:]
random.seed(seed)
out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
for _ in range(count):
    name = random.choice(files)
    try:
        fd = os.open(os.path.join(root, name), os.O_RDONLY)
    except OSError:
        break
    os.write(out, (name + "\\n").encode())
    os.close(fd)
"""


def client(mount, log, seed, count, files=FILES):
    return subprocess.Popen([sys.executable, "-c", CLIENT, str(mount.path / "sales/orders/1.0.0"), str(log), str(seed), str(count), *files])


def logged(*logs):
    lines = []
    for log in logs:
        lines += log.read_text().splitlines() if log.exists() else []
    return collections.Counter(f"sales/orders/1.0.0/{name}" for name in lines)


def test_fields_of_reads_and_runs(orders):
    with orders.mount(purpose="training", run="job-1") as m:
        subprocess.run(["cat", m.path / "sales/orders/1.0.0/d0/part-0.csv"], check=True, capture_output=True)
        subprocess.run(["cat", m.path / "sales/orders/latest/d0/part-0.csv"], check=True, capture_output=True)
    rows = orders.json("lineage reads")
    assert len(rows) == 1
    row = rows[0]
    assert READ_FIELDS <= set(row)
    assert row["run"] == "job-1" and row["purpose"] == "training" and row["outcome"] == "served"
    assert row["address"] == "sales/orders/1.0.0/d0/part-0.csv" and row["file"] == "d0/part-0.csv" and row["version"] == "1.0.0"
    assert row["opens"] == 2 and row["view"] == "" and re.fullmatch("[0-9a-f]{64}", row["policy"])
    assert os.path.basename(row["exe"]) in ("cat", "coreutils") and row["pid"] > 1
    assert row["first"] <= row["last"] and row["first"].endswith("Z")
    runs = orders.json("lineage runs")
    assert len(runs) == 1 and RUN_FIELDS <= set(runs[0])
    assert runs[0]["name"] == "job-1" and runs[0]["reads"] == 2 and runs[0]["ended"] and runs[0]["exit"] == 0
    assert orders.json("lineage reads", "--run", runs[0]["run"]) == rows
    assert orders.json("lineage reads", "sales/orders/latest/d0") == rows
    assert orders.json("lineage reads", "sales/orders/1.0.0/d1") == []
    assert orders.run("lineage", "reads", "--run", "nobody", status=4).stderr.count("\n") == 1
    assert orders.json("lineage denials") == []


def test_a_mount_without_a_name_is_a_run_of_its_own(orders):
    for _ in range(2):
        with orders.mount() as m:
            (m.path / "sales/orders/1.0.0/d0/part-0.csv").read_text()
    runs = orders.json("lineage runs")
    assert len({r["run"] for r in runs}) == 2 and all(r["name"].startswith("mount-") and r["reads"] == 1 for r in runs)


def test_threads_and_forked_workers(orders, tmp_path):
    logs = [tmp_path / f"log{i}" for i in range(4)]
    threads_log = collections.Counter()
    lock = threading.Lock()

    def worker(root, seed):
        rng = random.Random(seed)
        for _ in range(300):
            name = rng.choice(FILES)
            with open(root / name, "rb"):
                with lock:
                    threads_log[f"sales/orders/1.0.0/{name}"] += 1

    with orders.mount(run="loader") as m:
        clients = [client(m, log, i, 400) for i, log in enumerate(logs)]
        threads = [threading.Thread(target=worker, args=(m.path / "sales/orders/1.0.0", i)) for i in range(3)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert [c.wait() for c in clients] == [0] * 4
        assert opens(orders, "--run", "loader") == logged(*logs) + threads_log  # while it is mounted
    assert opens(orders, "--run", "loader") == logged(*logs) + threads_log
    pids = {r["pid"] for r in orders.json("lineage reads")}
    assert pids <= {os.getpid(), *(c.pid for c in clients)}  # processes, not threads


def test_killed_mounts_lose_and_invent_nothing(orders, tmp_path):
    logs, rounds = [], 4
    for i in range(rounds):
        log = tmp_path / f"log{i}"
        logs.append(log)
        mount = orders.mount(run=f"kill-{i}", check_noise=False)
        mount.start()
        c = client(mount, log, i, 10**6)
        wait_for(lambda log=log: log.exists() and log.stat().st_size > 2000, timeout=30, what="opens")
        time.sleep(random.random() * 0.3)
        mount.kill()
        c.wait()
        unmount(mount.path)
        mount.stop(check=False)
    recorded, answered = opens(orders), logged(*logs)
    assert not answered - recorded, "an open was answered and is not on record"
    assert sum((recorded - answered).values()) <= rounds, "an open is on record that nobody made"
    runs = orders.json("lineage runs")
    assert len(runs) == rounds and all(r["ended"] and r["exit"] is None for r in runs)
    assert opens(orders) == recorded  # asking again changes nothing
    orders.run("lineage", "verify")


def test_a_locked_database_delays_nothing_and_loses_nothing(orders, tmp_path):
    log = tmp_path / "log"
    with orders.mount(run="locked") as m:
        lock = sqlite3.connect(database(orders), isolation_level=None)
        lock.execute("BEGIN IMMEDIATE")
        start = time.monotonic()
        assert client(m, log, 1, 500).wait() == 0
        assert time.monotonic() - start < 15
        lock.execute("ROLLBACK")
        lock.close()
    assert opens(orders) == logged(log) and sum(logged(log).values()) == 500


def test_deleted_journals_lose_nothing(orders):
    """While the database is locked nothing is written; then the journal's file goes, with its folder.  The mount still has what it recorded, and goes on in a new one."""
    with orders.mount(run="r", check_noise=False) as m:
        folder = m.path / "sales/orders/1.0.0"
        (folder / FILES[0]).read_text()
        wait_for(lambda: sum(opens(orders).values()) == 1, what="that the first read is written")
        db = sqlite3.connect(database(orders), isolation_level=None)
        db.execute("BEGIN IMMEDIATE")
        for name in FILES[1:6]:
            (folder / name).read_text()
        shutil.rmtree(str(database(orders)) + ".journals")
        db.execute("ROLLBACK")
        db.close()
        wait_for(lambda: "somebody deleted" in m.log(), what="that it is noticed")
        for name in FILES[6:9]:
            (folder / name).read_text()
        for _ in range(2):
            orders.run("lineage", "runs")  # forgets the positions of files that are gone
        (folder / FILES[9]).read_text()
    assert opens(orders) == {f"sales/orders/1.0.0/{name}": 1 for name in FILES[:10]}
    orders.run("lineage", "verify")


def test_what_nobody_read_is_told_as_that(orders):
    """A misspelt column would get the same empty answer: it says that it did not look."""
    words = ("lineage", "trace", "sales/orders", "--where")
    assert "served rows of sales/orders at all" in orders.run(*words, "nocolumn == 1").stdout
    with orders.mount(run="r") as m:
        (m.path / "sales/orders/1.0.0" / FILES[1]).read_text()
    assert "served such a row" in orders.run(*words, "id == 77").stdout
    assert "no column nocolumn" in orders.run(*words, "nocolumn == 1", status=2).stderr


def test_a_thousand_epochs_are_one_row_a_file(orders, tmp_path):
    log = tmp_path / "log"
    with orders.mount(run="epochs") as m:
        assert client(m, log, 7, 3000, FILES[:5]).wait() == 0
    assert len(orders.json("lineage reads")) == 5 and opens(orders) == logged(log)


def test_denials_say_who_and_why(orders):
    (orders.folder / "policy" / "mesh.policy").write_text(
        "policy mesh-wide scope mesh version 1\ndeny no-ads\n  files   sales/**\n  when    purpose == marketing\n  reason  \"not for ads\"\n")
    with orders.mount(purpose="marketing", run="ads") as m:
        with pytest.raises(PermissionError):
            (m.path / "sales/orders/1.0.0/d0/part-0.csv").read_text()
    rows = orders.json("lineage denials")
    assert len(rows) == 1 and rows[0]["outcome"] == "denied" and rows[0]["run"] == "ads" and "no-ads" in rows[0]["rules"]
    assert rows[0]["address"] == "sales/orders/1.0.0/d0/part-0.csv"


def test_tampering_is_found(orders, tmp_path):
    for i in range(3):
        with orders.mount(run=f"r{i}") as m:
            for name in FILES[:4]:
                (m.path / "sales/orders/1.0.0" / name).read_text()
    head = tmp_path / "head"
    orders.run("lineage", "verify", "--head", head)
    assert re.fullmatch(r"\d+ [0-9a-f]{64}\n", head.read_text())
    with sqlite3.connect(database(orders)) as db:
        assert db.execute("UPDATE reads SET opens = opens + 1 WHERE run = 1 AND file = (SELECT max(file) FROM reads)").rowcount == 1
    done = orders.run("lineage", "verify", "--head", head, status=5)
    assert "not those that were sealed" in done.stdout


def test_prune_keeps_the_seals_and_the_graph(orders):
    with orders.mount(run="old") as m:
        (m.path / "sales/orders/1.0.0" / FILES[0]).read_text()
    orders.run("lineage", "prune", "--before", "2200-01-01")
    assert orders.json("lineage reads") == [] and orders.json("lineage runs")[0]["reads"] == 1
    assert any(n.get("name") == "old" for n in orders.json("lineage down", "sales/orders/1.0.0"))
    orders.run("lineage", "verify")
    orders.run("lineage", "prune", status=2)


def test_commands_killed_at_any_moment_leave_the_record_whole(orders, tmp_path):
    """Draining, sealing and pruning are transactions: whatever is killed, what was opened stays counted, and the chain holds."""
    rnd = random.Random(7)
    read = 0
    for i in range(12):
        with orders.mount(run=f"r{i}") as m:
            for name in rnd.choices(FILES, k=10):
                (m.path / "sales/orders/1.0.0" / name).read_text()
                read += 1
            for words in (("runs",), ("prune", "--before", "2200-01-01"), ("export", "--to", tmp_path / "events")):
                p = subprocess.Popen([*orders.command(), "lineage", *map(str, words)], env=orders.environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
                time.sleep(rnd.uniform(0.002, 0.04))
                p.kill()
                p.wait()
        orders.run("lineage", "verify", "--head", tmp_path / "head")
    orders.run("lineage", "prune", "--before", "2200-01-01")
    assert orders.json("lineage reads") == []
    assert sum(run["reads"] for run in orders.json("lineage runs")) == read
    orders.run("lineage", "export", "--to", tmp_path / "events")
    events = [json.loads(line) for line in (tmp_path / "events").read_text().splitlines()]
    assert sorted(collections.Counter((e["job"]["name"], e["eventType"]) for e in events).values()) == [1] * 24
    orders.run("lineage", "verify", "--head", tmp_path / "head")


def test_retention(orders):
    """lineage.keep: what is older goes by itself, what is younger cannot be pruned, and the chain tells pruned from removed."""
    def read(run):
        with orders.mount(run=run) as m:
            (m.path / "sales/orders/1.0.0" / FILES[0]).read_text()

    read("old")
    read("new")
    with sqlite3.connect(orders.folder / "home/state/meshfs/lineage/acme.db") as db:
        for (run,) in db.execute("SELECT id FROM runs WHERE name = 'old'").fetchall():  # 500 days ago, before anything was sealed
            db.execute("DELETE FROM seals")
            db.execute("UPDATE runs SET sealed_parts = 0, unsealed = 1")
            for table, columns in (("runs", ("started_ns", "ended_ns")), ("reads", ("first_ns", "last_ns")), ("inputs", ("first_ns", "last_ns"))):
                for column in columns:
                    db.execute(f"UPDATE {table} SET {column} = {column} - 500 * 86400 * 1000000000 WHERE {'id' if table == 'runs' else 'run'} = ?", (run,))
    assert {r["run"] for r in orders.json("lineage reads")} == {"old", "new"}
    orders.run("lineage", "verify")
    told = orders.json("lineage prune", "--before", "2026-01-01", "--dry-run")
    assert told[0]["dry_run"] is True and (told[0]["runs"], told[0]["reads"]) == (1, 1)
    assert {r["run"] for r in orders.json("lineage reads")} == {"old", "new"}
    orders.run("lineage", "prune", "--before", "yesterday", status=2)
    orders.file.write_text(orders.file.read_text() + "lineage: { keep: 600d }\n")
    assert (orders.json("lineage prune")[0]["runs"], len(orders.json("lineage reads"))) == (0, 2)
    done = orders.run("lineage", "prune", "--before", "2200-01-01", status=3)
    assert "lineage.keep" in done.stderr and len(orders.json("lineage reads")) == 2
    orders.file.write_text(orders.file.read_text().replace("keep: 600d", "keep: 400d"))
    read("newest")  # its mount prunes
    assert {r["run"] for r in orders.json("lineage reads")} == {"new", "newest"}
    assert {r["name"]: r["reads"] for r in orders.json("lineage runs")} == {"old": 1, "new": 1, "newest": 1}
    assert {n.get("name") for n in orders.json("lineage down", "sales/orders/1.0.0")} >= {"old", "new", "newest"}
    orders.run("lineage", "verify")
    with sqlite3.connect(orders.folder / "home/state/meshfs/lineage/acme.db") as db:
        assert [k for (k,) in db.execute("SELECT kind FROM mesh_seals WHERE kind = 'prune'")] == ["prune"]
        db.execute("DELETE FROM reads WHERE run = (SELECT id FROM runs WHERE name = 'new')")
    assert "1 rows were sealed, 0 are there" in orders.run("lineage", "verify", status=5).stdout


@pytest.fixture
def five_runs(orders, tmp_path):
    """Over three domains: orders and zips → joined → features (two runs read them) → a model, and a report of orders alone."""
    for name in ("geo", "ml"):
        orders.domain(name)
    orders.publish("geo/zips/2.0.0", {"zips.csv": "zip\n10115\n"})

    def step(name, shell, *args):
        orders.run("run", "--name", name, *args, "--", "sh", "-ec", shell, cwd=tmp_path)

    step("join", "mkdir j; cat $MESHFS_MOUNT/sales/orders/1.0.0/d0/part-0.csv $MESHFS_MOUNT/geo/zips/2.0.0/zips.csv > j/j.csv;"
                 f" {binary()} publish sales/joined/1.0.0 j")
    step("featurise", f"mkdir f; cp $MESHFS_MOUNT/sales/joined/1.0.0/j.csv f/; {binary()} publish ml/features/1.0.0 f")
    step("train", "cat $MESHFS_MOUNT/ml/features/latest/j.csv > model.bin", "--output", "model.bin", "--purpose", "training", "--param", "lr=0.1")
    step("evaluate", "cat $MESHFS_MOUNT/ml/features/1/j.csv > /dev/null")
    step("report", "cat $MESHFS_MOUNT/sales/orders/1.0.0/d1/part-1.csv > /dev/null")
    return orders


def label(node):
    return node.get("address") or node.get("name") or os.path.basename(node["path"])


def test_up_and_down_over_three_domains(five_runs, tmp_path):
    up = {label(n) for n in five_runs.json("lineage up", tmp_path / "model.bin")}
    assert up == {"model.bin", "train", "ml/features/1.0.0", "featurise", "sales/joined/1.0.0", "join", "sales/orders/1.0.0", "geo/zips/2.0.0"}
    down = {label(n) for n in five_runs.json("lineage down", "geo/zips/2.0.0")}
    assert down == {"geo/zips/2.0.0", "join", "sales/joined/1.0.0", "featurise", "ml/features/1.0.0", "train", "evaluate", "model.bin"}
    down = {label(n) for n in five_runs.json("lineage down", "sales/orders/1.0.0/d1/part-1.csv")}
    assert down == {"sales/orders/1.0.0", "report"}
    model = [n for n in five_runs.json("lineage down", "sales/orders") if n["kind"] == "output"]
    assert [m["sha256"] for m in model] == [hashlib.sha256((tmp_path / "model.bin").read_bytes()).hexdigest()]
    five_runs.run("lineage", "up", "sales/nothing/1.0.0", status=4)


def test_pictures(five_runs, tmp_path):
    import xml.dom.minidom
    svg = five_runs.run("lineage", "export", "--format", "svg", tmp_path / "model.bin").stdout
    texts = [t.firstChild.data for t in xml.dom.minidom.parseString(svg).getElementsByTagName("text")]
    assert "featurise" in texts and "geo/zips/2.0.0" in texts and len(texts) == 8
    dot = five_runs.run("lineage", "export", "--format", "dot").stdout
    assert dot.startswith("digraph") and dot.count("->") >= 8
    graph = json.loads(five_runs.run("lineage", "export", "--format", "json").stdout)
    edges = {(graph["nodes"][e["from"]]["label"], graph["nodes"][e["to"]]["label"]) for e in graph["edges"]}
    assert ("sales/orders/1.0.0", "join") in edges and ("join", "sales/joined/1.0.0") in edges
    five_runs.run("lineage", "export", "--format", "png", status=2)


def event_validator():
    """Checks an event and each of its facets against the official schemas."""
    jsonschema = pytest.importorskip("jsonschema")
    if not SCHEMAS.exists():
        pytest.skip(f"the official OpenLineage schemas are not at {SCHEMAS}")
    from referencing import Registry, Resource
    schemas = [json.loads(p.read_text()) for p in [SCHEMAS / "OpenLineage.json", *sorted((SCHEMAS / "facets").glob("*.json"))]]
    registry = Registry().with_resources((s["$id"], Resource.from_contents(s)) for s in schemas)

    def check(event):
        jsonschema.Draft202012Validator(schemas[0], registry=registry, format_checker=jsonschema.FormatChecker()).validate(event)

        def facets(value):
            if isinstance(value, dict):
                if "_schemaURL" in value:
                    jsonschema.Draft202012Validator({"$ref": value["_schemaURL"]}, registry=registry).validate(value)
                    seen.add(value["_schemaURL"].split("#")[0].rsplit("/", 1)[1])
                for v in value.values():
                    facets(v)
            elif isinstance(value, list):
                for v in value:
                    facets(v)
        facets(event)

    seen = set()
    check.seen = seen
    return check


def test_openlineage_events_are_valid(five_runs, tmp_path):
    check = event_validator()
    out = tmp_path / "events.jsonl"
    five_runs.run("lineage", "export", "--format", "openlineage", "-o", out)
    events = [json.loads(line) for line in out.read_text().splitlines()]
    assert [e["eventType"] for e in events] == ["START", "COMPLETE"] * 5
    for event in events:
        check(event)
    joined = next(e for e in events if e["job"]["name"] == "join" and e["eventType"] == "COMPLETE")
    assert [d["name"] for d in joined["inputs"]] == ["geo/zips/2.0.0", "sales/orders/1.0.0"]
    assert [d["name"] for d in joined["outputs"]] == ["sales/joined/1.0.0"]
    assert joined["inputs"][1]["facets"]["version"]["datasetVersion"] == "1.0.0"
    assert joined["inputs"][1]["inputFacets"]["inputStatistics"]["fileCount"] == 1
    assert {"DatasetVersionDatasetFacet.json", "DatasourceDatasetFacet.json", "InputStatisticsInputDatasetFacet.json",
            "ProcessingEngineRunFacet.json"} <= check.seen
