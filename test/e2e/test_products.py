"""Data as a product: contracts and checks at publish, what readers are told of a version, watching."""
import datetime
import errno
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path

import pytest

import forge
from meshkit import CONTRACT_HEAD, wait_for

COLUMNS = """      - name: id
        logicalType: integer
        required: true
        unique: true
      - name: amount
        logicalType: number
        description: in euros
"""
EMAIL = """      - name: email
        logicalType: string
"""


def contract(columns=COLUMNS, more=""):
    return f"""apiVersion: v3.1.0
kind: DataContract
id: orders
name: Orders
version: 1.0.0
status: active
description:
  purpose: every order there was
schema:
  - name: orders
    physicalName: "*.csv"
    properties:
{columns}{more}"""


ROWS = "id,amount\n" + "".join(f"{i},{i}.5\n" for i in range(1, 51))
PEOPLE = "id,amount,email\n" + "".join(f"{i},{i}.5,person{i}@example.org\n" for i in range(1, 51))


@pytest.fixture
def sales(mesh):
    mesh.domain("sales")
    return mesh


def publish(mesh, address, files, text=None, *args, **options):
    if text is not None:
        path = mesh.folder / "contract.yaml"
        path.write_text(text)
        args = ("--contract", path, *args)
    return mesh.publish(address, files, *args, **options)


# -- the gate --------------------------------------------------------------------------------

def test_an_undeclared_email_column_is_refused(sales):
    done = publish(sales, "sales/orders/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL), status=3)
    assert "email" in done.stderr and "personal data" in done.stderr
    assert sales.json("ls", "sales") == []
    # No reason lifts it; a tag, or a waiver with who and why, does.
    publish(sales, "sales/orders/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL), "--with-failures", "hurry", status=3)
    publish(sales, "sales/orders/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL + "        tags: [pii]\n"))
    waiver = """        customProperties:
          - property: personalDataWaiver
            value: { by: dpo, reason: "addresses of machines" }
"""
    publish(sales, "sales/robots/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL + waiver))
    publish(sales, "sales/half/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL + waiver.replace("by: dpo, ", "")), status=3)


def test_failing_checks_refuse_or_mark_and_training_is_denied(sales, fuse):
    bad = ROWS + "1,7\n"
    done = publish(sales, "sales/orders/1.0.0", {"orders.csv": bad}, contract(), status=3)
    assert "unique" in done.stderr and "orders.csv" in done.stderr and "--with-failures" in done.stderr
    publish(sales, "sales/orders/1.0.0", {"orders.csv": bad}, contract(), "--with-failures", "known duplicate")
    shown = sales.json("show", "sales/orders/1.0.0")[0]
    assert shown["status"] == "failing" and shown["failures"] == "known duplicate" and shown["quality"]["failed_errors"] == 1
    (sales.folder / "policy/quality.policy").write_text(
        "policy quality scope mesh version 1\n\ndeny low-quality\n  files   **\n"
        "  when    purpose == training and product.quality.failed_errors > 0\n  reason  \"it failed its checks\"\n")
    sales.run("policy", "check")
    with sales.mount(purpose="training") as m:
        with pytest.raises(PermissionError):
            (m.path / "sales/orders/1.0.0/orders.csv").read_text()
        assert "low-quality" in (m.path / "sales/orders/1.0.0/.mesh/policy.txt").read_text()
    with sales.mount(purpose="reporting") as m:
        assert (m.path / "sales/orders/1.0.0/orders.csv").read_text() == bad


def test_warnings_are_kept_and_refuse_nothing(sales):
    warn = contract(more="""    quality:
      - metric: rowCount
        mustBeGreaterThan: 1000
        severity: warning
""")
    done = publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, warn)
    assert "rowCount" in done.stderr
    quality = sales.json("show", "sales/orders/1.0.0")[0]["quality"]
    assert quality["failed_warnings"] == 1 and quality["failed_errors"] == 0


def test_the_schema_decides_the_least_step(sales):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, contract())
    wider = contract(COLUMNS + "      - name: note\n        logicalType: string\n")
    notes = ROWS.replace("amount\n", "amount,note\n").replace(".5\n", ".5,x\n")
    done = publish(sales, "sales/orders/1.0.1", {"orders.csv": notes}, wider, status=3)
    assert "minor" in done.stderr
    publish(sales, "sales/orders/1.1.0", {"orders.csv": notes}, wider)
    done = publish(sales, "sales/orders/1.2.0", {"orders.csv": ROWS}, contract(), status=3)
    assert "major" in done.stderr and "note" in done.stderr
    publish(sales, "sales/orders/2.0.0", {"orders.csv": ROWS}, contract())
    publish(sales, "sales/orders/2.0.1", {"orders.csv": ROWS + "900,1\n"})  # inherits


@pytest.mark.parametrize("name", ["orders.csv", "orders.tsv", "orders.csv.gz", "orders.jsonl"])
def test_a_drafted_contract_publishes_its_data(sales, name):
    source, path = sales.folder / name, sales.folder / "drafted.yaml"
    rows = [line.split(",") for line in ROWS.splitlines()]
    text = {"tsv": ROWS.replace(",", "\t"), "jsonl": "".join(f'{{"id": {i}, "amount": {a}}}\n' for i, a in rows[1:])}.get(name.split(".")[1], ROWS)
    source.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
    sales.run("product", "new", "sales/orders", source, "-o", path)
    sales.run("publish", "sales/orders/1.0.0", source, "--contract", path)
    columns = [(c["name"], c["type"]) for c in sales.json("show", "sales/orders/1.0.0")[0]["columns"]]
    assert columns == [("id", "integer"), ("amount", "number")]


NESTED = [{"id": 1, "tags": ["a", "NA"], "lines": [{"sku": "x", "n": 1}, {"sku": "y", "n": 2}], "s": {"a": 1}},
          {"id": 2, "tags": [], "lines": [], "s": {"a": 2}}, {"id": 3, "tags": ["c"], "lines": None, "s": None}]


@pytest.mark.parametrize("kind", ["jsonl", "parquet"])
def test_a_drafted_contract_knows_what_is_nested(sales, kind):
    source, path = sales.folder / f"n.{kind}", sales.folder / "drafted.yaml"
    if kind == "parquet":
        pyarrow = pytest.importorskip("pyarrow")
        if not os.environ.get("MESHFS_DUCKDB"):
            pytest.skip("no DuckDB here (MESHFS_DUCKDB)")
        import pyarrow.parquet
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(NESTED), source)
    else:
        source.write_text("".join(json.dumps({**r, "odd": o}) + "\n" for r, o in zip(NESTED, (1, [2], {"z": 3}))) + '{"id": 4, "m": [[1], [2]]}\n')
    sales.run("product", "new", "sales/n", source, "-o", path)
    text = path.read_text()
    assert "items: { logicalType: string }" in text and 'name: "sku"' in text
    assert ("of several kinds" in text) == (kind == "jsonl")
    done = sales.run("publish", "sales/n/1.0.0", source, "--contract", path)
    assert "error" not in done.stderr and "warning" not in done.stderr
    text = text.replace("items: { logicalType: string }", "items: { logicalType: integer }")
    path.write_text(text)
    assert "tags items logicalType" in sales.run("publish", "sales/n/2.0.0", source, "--contract", path, status=3).stderr


def test_a_drafted_contract_lets_an_empty_file_be(sales):
    source, path = sales.folder / "some", sales.folder / "drafted.yaml"
    source.mkdir()
    (source / "orders.csv").write_text(ROWS)
    (source / "none.csv").write_text("")
    sales.run("product", "new", "sales/orders", source, "-o", path)
    sales.run("publish", "sales/orders/1.0.0", source, "--contract", path)


ODD = {
    "wide.csv": ",".join(f"c{i}" for i in range(1000)) + "\n" + (",".join(map(str, range(1000))) + "\n") * 3, "head.csv": "a,b,c\n", "empty.csv": "",
    "latin1.csv": "name;stadt\nJürgen;Köln\n".encode("latin-1"), "bom.csv": b"\xef\xbb\xbfid,v\r\n1,2\r\n",
    "quotes.csv": 'id,"a ""q"" b","multi\nline"\n1,"x,y","l1\nl2"\n', "weird.csv": 'a b,"x.y",ü,#,a\'b,"{z}"\n1,2,3,4,5,6\n', "index.csv": ",id\n0,7\n",
}


@pytest.mark.parametrize("name", ODD)
def test_drafts_of_odd_files_publish_them(sales, name):
    source, path = sales.folder / name, sales.folder / "drafted.yaml"
    source.write_bytes(ODD[name] if isinstance(ODD[name], bytes) else ODD[name].encode())
    sales.run("product", "new", "sales/odd", source, "-o", path)
    sales.run("publish", "sales/odd/1.0.0", source, "--contract", path)
    if name == "index.csv":
        assert "column without a name" in path.read_text()


def test_what_cannot_be_drafted_says_why(sales):
    folder = sales.folder
    (folder / "wide.csv").write_bytes("a,b\n1,2\n".encode("utf-16"))
    (folder / "torn.csv.gz").write_bytes(gzip.compress(b"id,v\n" + b"1,2\n" * 10000)[:-20])
    (folder / "bare.csv").write_text("1,2.5,2020-01-01\n2,3.5,2020-01-02\n")
    assert "not UTF-8" in sales.run("product", "new", "sales/odd", folder / "wide.csv", status=1).stderr
    assert "damaged" in sales.run("product", "new", "sales/odd", folder / "torn.csv.gz", status=5).stderr
    assert "property: header, value: false" in sales.run("product", "new", "sales/odd", folder / "bare.csv").stdout


@pytest.mark.parametrize("kind", ["csv", "tsv", "jsonl", "csv.gz", "parquet"])
def test_the_readme_tells_how_to_use_it(sales, fuse, kind):
    """What stands there runs as it is, for the files that the product has."""
    pandas = pytest.importorskip("pandas")
    table, source = pandas.DataFrame({"id": range(50), "amount": [i / 2 for i in range(50)]}), sales.folder / f"orders.{kind}"
    if kind == "parquet":
        if not os.environ.get("MESHFS_DUCKDB"):
            pytest.skip("no DuckDB here (MESHFS_DUCKDB)")
        table.to_parquet(source)
    elif kind == "jsonl":
        table.to_json(source, orient="records", lines=True)
    else:
        table.to_csv(source, index=False, sep="\t" if kind == "tsv" else ",")
    sales.run("product", "new", "sales/orders", source, "-o", sales.folder / "c.yaml")
    sales.run("publish", "sales/orders/1.0.0", source, "--contract", sales.folder / "c.yaml")
    with sales.mount() as m:
        text = (m.path / "sales/orders/README.md").read_text()
        code = text.split("```python\n")[1].split("```")[0]
        scope = {}
        lines = [line for line in code.splitlines() if "torch" not in line.lower() and "DataLoader" not in line]
        exec("\n".join(lines), scope)
        assert list(scope["data"]["amount"]) == list(table["amount"]) and "DataLoader(" in code
        if kind != "csv.gz":  # whatever reads the name
            duckdb = pytest.importorskip("duckdb")
            query = text.split("-- DuckDB\n")[1].split("```")[0]
            assert duckdb.sql(query).fetchall()[-1] == (49, 24.5)


def test_a_contract_is_drafted_of_parquet(sales):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    if not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("no DuckDB")
    source, path = sales.folder / "orders.parquet", sales.folder / "drafted.yaml"
    parquet.write_table(pyarrow.table({"id": list(range(1, 101)), "amount": [i / 2 for i in range(100)],
                                       "day": [datetime.date(2026, 1, 1 + i % 28) for i in range(100)]}), source)
    sales.run("product", "new", "sales/orders", source, "-o", path)
    sales.run("publish", "sales/orders/1.0.0", source, "--contract", path)
    assert [(c["name"], c["type"]) for c in sales.json("show", "sales/orders/1.0.0")[0]["columns"]] == [
        ("id", "integer"), ("amount", "number"), ("day", "date")]


def test_a_corrected_contract_is_not_overwritten(sales):
    source, path = sales.folder / "orders.csv", sales.folder / "orders.yaml"
    source.write_text(ROWS)
    path.write_text("mine")
    done = sales.run("product", "new", "sales/orders", source, "-o", path, status=1)
    assert "--force" in done.stderr and path.read_text() == "mine"
    sales.run("product", "new", "sales/orders", source, "-o", path, "--force")
    assert "kind: DataContract" in path.read_text()


def test_failures_are_told_in_words(sales):
    done = publish(sales, "sales/orders/1.0.0", {"orders.csv": "id,amount\nx,1\ny,2\n3,z\n"}, contract(), status=3)
    assert "error: orders.id logicalType: values that are no integers: 2, there may be none; first: orders.csv row 1, orders.csv row 2" in done.stderr
    assert "values that are no numbers: 1" in done.stderr


# -- what readers are told -----------------------------------------------------------------------

def test_croissant_is_valid_and_loads_records(sales, fuse):
    mlcroissant = pytest.importorskip("mlcroissant")
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS, "notes.txt": "n\n", "empty.txt": ""}, contract())
    with sales.mount() as m:
        path = m.path / "sales/orders/1.0.0/.mesh/croissant.json"
        document = json.loads(path.read_text())
        assert document["conformsTo"] == "http://mlcommons.org/croissant/1.1" and document["version"] == "1.0.0"
        assert {f["@id"] for f in document["distribution"]} == {"orders.csv", "notes.txt", "empty.txt"}
        assert next(f["sha256"] for f in document["distribution"] if f["@id"] == "empty.txt") == hashlib.sha256(b"").hexdigest()
        assert "isLiveDataset" not in document
        dataset = mlcroissant.Dataset(jsonld=str(path))
        assert not dataset.metadata.ctx.issues.errors
        records = list(dataset.records("records/orders.csv"))
    assert len(records) == 50
    assert sorted(records[0]) == ["records/orders.csv/amount", "records/orders.csv/id"]
    assert records[2]["records/orders.csv/id"] == 3 and records[2]["records/orders.csv/amount"] == 3.5


def test_croissant_of_odd_names_and_separators(sales, fuse):
    """White space in names of files and columns, which no id may hold; tabs; a file without a head has no records that tools could load."""
    mlcroissant = pytest.importorskip("mlcroissant")
    files = {"a b.csv": "id,na me,na_me,n\u00a0b\n1,x,y,z\n", "t.tsv": "id\tname\n1\tx\n", "raw.csv": "1,2\n"}
    column = lambda n: f"      - {{name: {json.dumps(n)}, logicalType: string, classification: public}}\n"
    table = lambda n, files, columns, more="": f"  - name: {n}\n    physicalName: \"{files}\"\n{more}    properties:\n" + "".join(map(column, columns))
    text = contract().split("  - name: orders")[0] + (table("a", "a *.csv", ["id", "na me", "na_me", "n\u00a0b"]) + table("t", "*.tsv", ["id", "name"])
                                                      + table("raw", "raw.csv", ["x", "y"], "    customProperties: [{property: header, value: false}]\n"))
    publish(sales, "sales/odd/1.0.0", files, text)
    with sales.mount() as m:
        dataset = mlcroissant.Dataset(jsonld=str(m.path / "sales/odd/1.0.0/.mesh/croissant.json"))
        assert not dataset.metadata.ctx.issues.errors
        sets = {s.description: s for s in dataset.metadata.record_sets}
        assert sorted(sets) == ["a", "t"]
        (record,) = dataset.records(sets["a"].uuid)
        assert sorted(record.values()) == [b"1", b"x", b"y", b"z"] and len({f.uuid for f in sets["a"].fields}) == 4
        assert [f.name for f in sets["a"].fields] == ["id", "na me", "na_me", "n\u00a0b"]
        (record,) = dataset.records(sets["t"].uuid)
        assert sorted(record.values()) == [b"1", b"x"]


def test_croissant_names_nothing_that_is_dropped(sales, fuse):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": PEOPLE}, contract(COLUMNS + EMAIL + "        tags: [pii]\n"))
    (sales.folder / "policy/pii.policy").write_text("policy pii scope mesh version 1\n\ndrop no-pii\n  columns tagged pii\n")
    with sales.mount() as m:
        text = (m.path / "sales/orders/1.0.0/.mesh/croissant.json").read_text()
        assert "email" not in text and "amount" in text
        # The source's hash would tell of what is not in the view.
        assert "sha256" not in json.loads(text)["distribution"][0]


def test_lineage_json_names_what_a_version_was_made_from(sales, fuse):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS})
    publish(sales, "sales/unread/1.0.0", {"a.csv": "x\n1\n"})
    script = 'cat "$MESHFS_MOUNT/sales/orders/1.0.0/orders.csv" > /dev/null && ' \
             'mkdir "$MESHFS_MOUNT/sales/sums" "$MESHFS_MOUNT/sales/sums/1.0.0.draft" && ' \
             'echo total > "$MESHFS_MOUNT/sales/sums/1.0.0.draft/a.txt" && mv "$MESHFS_MOUNT/sales/sums/1.0.0.draft" "$MESHFS_MOUNT/sales/sums/1.0.0"'
    sales.run("run", "--name", "sum", "--", "sh", "-c", script)
    with sales.mount() as m:
        told = json.loads((m.path / "sales/sums/1.0.0/.mesh/lineage.json").read_text())
        assert told["address"] == "sales/sums/1.0.0"
        first, second = told["versions"]
        assert first["inputs"] == ["sales/orders/1.0.0"] and first["run_name"] == "sum"
        assert second["address"] == "sales/orders/1.0.0" and second["inputs"] == []
    (sales.folder / "policy/hide.policy").write_text("policy hide scope mesh version 1\n\nhide orders\n  files sales/orders/**\n")
    with sales.mount() as m:
        text = (m.path / "sales/sums/1.0.0/.mesh/lineage.json").read_text()
        assert "orders" not in text, text


# -- watch -----------------------------------------------------------------------------------------

def test_watch_tells_at_once(sales):
    publish(sales, "sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    seen, flag = sales.folder / "seen", sales.folder / "flag"
    with open(seen, "w") as out:
        watcher = subprocess.Popen([*sales.command(), "watch", "sales/orders", "--json", "--exec", f'echo "$MESHFS_EVENT $MESHFS_ADDRESS" >> {flag}'],
                                   stdout=out, stderr=subprocess.PIPE, text=True, env=sales.environment(), cwd=sales.folder)
    once = subprocess.Popen([*sales.command(), "watch", "--once"], stdout=subprocess.PIPE, text=True, env=sales.environment(), cwd=sales.folder)
    try:
        time.sleep(1)
        assert seen.read_text() == ""
        publish(sales, "sales/other/1.0.0", {"a.csv": "x\n1\n"})
        began = time.monotonic()
        publish(sales, "sales/orders/1.1.0", {"a.csv": "x\n2\n"})
        wait_for(lambda: flag.exists() and "1.1.0" in flag.read_text(), timeout=10, what="the event")
        assert time.monotonic() - began < 4  # the mesh's refresh is 5 s: this came by the host's own notice
        sales.run("withdraw", "sales/orders/1.0.0", "--reason", "wrong")
        wait_for(lambda: flag.read_text().count("\n") == 2, timeout=10, what="the withdrawal")
        events = [json.loads(line) for line in seen.read_text().splitlines()]
        assert [(e["event"], e["address"]) for e in events] == [("published", "sales/orders/1.1.0"), ("withdrawn", "sales/orders/1.0.0")]
        assert flag.read_text() == "published sales/orders/1.1.0\nwithdrawn sales/orders/1.0.0\n"
        assert once.wait(10) == 0 and "published sales/other/1.0.0" in once.stdout.read()
        watcher.terminate()
        assert watcher.wait(10) == 0
    finally:
        for process in (watcher, once):
            process.kill()
            process.communicate()
    sales.run("watch", "nosuch", status=4)
    sales.run("watch", "sales/orders/1.0.0/a.csv", status=2)


def watching(sales, *args, **more):
    return subprocess.Popen([*sales.command(), "watch", *args], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=sales.environment(),
                            cwd=sales.folder, **more)


def test_watch_ends_with_its_command(sales):
    """A command that never ends holds up events; it does not hold up who ends the watch."""
    publish(sales, "sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    started = sales.folder / "started"
    watcher = watching(sales, "sales/ordrs", "--exec", f"echo $$ > {started}; exec sleep 600")
    try:
        assert watcher.stderr.readline() == "meshfs: warning: sales/ordrs is not there yet, and is waited for (did you mean 'orders'?)\n"
        publish(sales, "sales/ordrs/1.0.0", {"a.csv": "x\n2\n"})
        wait_for(lambda: started.exists() and started.read_text().strip(), timeout=10, what="the command")
        watcher.terminate()
        assert watcher.wait(10) == 0
        with pytest.raises(ProcessLookupError):
            os.kill(int(started.read_text()), 0)
        assert "was ended by signal 15" in watcher.stderr.read()
    finally:
        watcher.kill()
        watcher.communicate()


def test_watch_once_tells_that_its_command_failed(sales):
    publish(sales, "sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    watcher = watching(sales, "--once", "--exec", "exit 7")
    time.sleep(1)
    publish(sales, "sales/orders/1.0.1", {"a.csv": "x\n2\n"})
    out, said = watcher.communicate(timeout=15)
    assert watcher.returncode == 1 and "published sales/orders/1.0.1" in out
    assert "ended with 7" in said and "the command of --exec failed" in said


def test_watch_takes_old_versions_for_no_news(sales):
    """A domain that was out of reach at first brings only what came since."""
    publish(sales, "sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    store, away = sales.folder / "stores/sales", sales.folder / "away"
    store.rename(away)
    for cached in (sales.folder.parent, sales.folder):
        for name in cached.rglob("snapshots"):
            if "away" not in name.parts:
                shutil.rmtree(name)
    mesh = sales.folder / "mesh.yaml"
    mesh.write_text(mesh.read_text().replace("refresh: 5s", "refresh: 200ms") if "refresh:" in mesh.read_text() else mesh.read_text() + "refresh: 200ms\n")
    watcher = watching(sales)
    try:
        time.sleep(1)
        away.rename(store)
        time.sleep(1.5)
        publish(sales, "sales/orders/1.0.1", {"a.csv": "x\n2\n"})
        assert watcher.stdout.readline().split()[-2:] == ["published", "sales/orders/1.0.1"]
    finally:
        watcher.kill()
        watcher.communicate()


# -- measures ------------------------------------------------------------------------------------------

def test_measures_in_show_status_and_metrics(sales, fuse):
    often = contract() + "slaProperties:\n  - {property: frequency, value: 1, unit: s}\n"
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, often)
    publish(sales, "sales/orders/1.0.1", {"orders.csv": ROWS + "1,2\n"}, None, "--with-failures", "known")
    publish(sales, "sales/quiet/1.0.0", {"a.bin": "x"})
    sales.run("run", "--name", "reader", "--", "sh", "-c", "cat $MESHFS_MOUNT/sales/orders/1.0.0/orders.csv")
    time.sleep(1.1)  # the next version is overdue then
    told = sales.json("show", "sales/orders")[0]["measures"]
    assert (told["readers"], told["runs"], told["opens"], told["failed_errors"], told["overdue"], told["promised_seconds"]) == (1, 1, 1, 1, True, 1)
    assert told["good_age_seconds"] >= told["age_seconds"] and told["last_read"]
    text = sales.run("show", "sales/orders").stdout
    assert "1 user in 1 run" in text and "overdue" in text and "last good" in text
    rows = {row["product"]: row for row in sales.json("status") if row["kind"] == "product"}
    assert "1 check fails" in rows["orders"]["problem"] and "overdue" in rows["orders"]["problem"]
    assert rows["quiet"]["problem"] is None and rows["quiet"]["measures"]["readers"] == 0 and rows["quiet"]["measures"]["failed_errors"] is None
    assert "products 2, 1 of them" in sales.run("status").stdout
    with sales.mount() as m:
        metrics = (m.path / ".mesh/metrics").read_text()
    of = 'domain="sales",product="orders"'
    for line in (f"meshfs_product_failed_errors{{{of}}} 1", f"meshfs_product_readers{{{of}}} 1", f"meshfs_product_runs{{{of}}} 1",
                 f"meshfs_product_overdue{{{of}}} 1", 'meshfs_product_opens{domain="sales",product="quiet"} 0'):
        assert line in metrics.splitlines(), metrics
    assert metrics.count("# TYPE meshfs_product_version_age_seconds gauge") == 1


def test_search_ranks_by_quality_status_and_use(sales, fuse):
    for name, more in (("plain", ""), ("poor", ""), ("read", ""), ("old", "")):
        text = contract().replace("id: orders", f"id: {name}").replace("status: active", "status: deprecated" if name == "old" else "status: active")
        rows, failing = (ROWS + "1,2\n", ["--with-failures", "known"]) if name == "poor" else (ROWS, [])
        publish(sales, f"sales/{name}/1.0.0", {"orders.csv": rows}, text, *failing)
    word = "amount"
    found = lambda: [hit["address"].split("/")[1] for hit in sales.json("search", word)]
    assert found() == ["plain", "read", "poor", "old"]
    sales.run("run", "--name", "reader", "--", "sh", "-c", "cat $MESHFS_MOUNT/sales/read/1.0.0/orders.csv")
    assert found() == ["read", "plain", "poor", "old"]
    with sales.mount() as m:
        assert [link.split("@")[0] for link in os.listdir(m.path / ".mesh/search" / word)] == ["plain", "read", "poor", "old"]


VERSIONS = 1000


def many_versions(mesh):
    """1.0.0 published, the others made of it: of every second one a check failed.  Gives the bytes of the catalog."""
    publish(mesh, "sales/orders/1.0.0", {"orders.csv": ROWS}, contract())
    store = mesh.folder / "stores/sales/.mesh"
    made = f"""WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {VERSIONS - 1})
        INSERT INTO version SELECT product, 1, i, patch, status, manifest, manifest_size, published_ns, files, bytes, contract,
        json_set(quality, '$.failed_errors', i % 2, '$.filler', hex(zeroblob(4000))), failures_reason, withdrawn_reason, publisher, run FROM version, n"""
    forge.forge_snapshot(store, [made, (f"UPDATE product SET latest = '1.{VERSIONS - 1}.0', active = {VERSIONS}",)])
    shutil.rmtree(next((mesh.folder / "home/cache/meshfs/domains").glob("sales-*")))  # which knows the catalog before
    return forge.newest(store)[1]["size"]


def bytes_read(mount):
    io = (Path("/proc") / str(mount.process.pid) / "io").read_text()
    return int(re.search(r"rchar: (\d+)", io)[1])


@pytest.mark.parametrize("asked", [False, True], ids=["", "checks-asked-for"])
def test_a_listing_reads_the_catalog_a_few_times_however_many_versions(sales, fuse, asked):
    size = many_versions(sales)
    if asked:
        (sales.folder / "policy/quality.policy").write_text("policy quality scope mesh version 1\n\nhide failed\n  when product.quality.failed_errors > 0\n")
    want = {f"1.{i}.0" for i in range(0, VERSIONS, 1 + asked)}
    with sales.mount() as m:
        os.listdir(m.path / "sales")
        before = bytes_read(m)
        shown = [e.name for e in os.scandir(m.path / "sales/orders") if e.is_dir(follow_symlinks=False) and e.stat()]
        assert {name for name in shown if name[0] == "1"} == want
        # Once for the names, once for the attributes of each, twice for README.md, once where a rule asks for what checks found.
        first = bytes_read(m) - before
        assert first < 8 * size, f"{first / size:.1f} times the catalog"
        assert {e.name for e in os.scandir(m.path / "sales/orders") if e.stat() and e.name[0] == "1"} == want
        again = bytes_read(m) - before - first
        assert again < 8 * size, f"{again / size:.1f} times the catalog"


def test_a_reason_marks_only_what_failed(sales):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, contract(), "--with-failures", "in case")
    shown = sales.json("show", "sales/orders/1.0.0")[0]
    assert shown["status"] == "active" and shown["failures"] is None and shown["quality"]["failed_errors"] == 0
    publish(sales, "sales/orders/1.0.1", {"orders.csv": ROWS + "1,2\n"}, None, "--with-failures", "known")
    shown = sales.json("show", "sales/orders/1.0.1")[0]
    assert shown["status"] == "failing" and shown["failures"] == "known"


def test_publish_tells_machines_what_failed(sales, tmp_path):
    (tmp_path / "c.yaml").write_text(contract())
    (tmp_path / "orders.csv").write_text(ROWS + "1,2\n")
    args = ["sales/orders/1.0.0", tmp_path / "orders.csv", "--contract", tmp_path / "c.yaml"]
    (refused,) = sales.json("publish", *args, status=3)
    assert refused["address"] == "sales/orders/1.0.0" and refused["outcome"] == "refused" and "1 check of the contract failed" in refused["reason"]
    (failed,) = refused["failed"]
    assert failed["check"] == "unique" and failed["column"] == "id" and failed["offenders"] == [{"file": "orders.csv", "row": 51}]
    (done,) = sales.json("publish", *args, "--with-failures", "known")
    assert done["outcome"] == "published" and done["failed"] == [failed]
    (tmp_path / "mails.csv").write_text("mail\na@example.org\n")
    (done,) = sales.json("publish", "sales/mails/1.0.0", tmp_path / "mails.csv")
    assert [f["check"] for f in done["failed"]] == ["personal data"] and done["failed"][0]["severity"] == "warning"


def test_readmes_do_not_drive_terminals(sales, fuse):
    """What a domain writes is read with cat, by others, in the README of the mesh too."""
    text = (contract().replace("name: Orders", 'name: "Ord\\e[2Jers\\n- [fake](x/)"').replace("purpose: every order there was", 'purpose: "a\\e]0;t\\a \\u202E b\\n\\nc"')
            .replace('physicalName: "*.csv"', """physicalName: '*"+x+".csv'""").replace("in euros", '"x\\x9by"'))
    publish(sales, "sales/orders/1.0.0", {'a"+x+".csv': ROWS}, text)
    with sales.mount() as m:
        for name in ("README.md", "sales/README.md", "sales/orders/README.md", "sales/orders/1.0.0/.mesh/policy.txt"):
            said = (m.path / name).read_text()
            assert not [c for c in said if (c < " " and c not in "\n\t") or "\x7f" <= c <= "\x9f" or c == "\u202e"], (name, said)
            assert "\n- [fake]" not in said
        readme = (m.path / "sales/orders/README.md").read_text()
        assert readme.startswith("# Ord?[2Jers - [fake](x/)\n") and "b\n\nc" in readme
        assert '+x+' not in readme.split("## Use")[1]  # nothing that ends the quotes of what people copy


def test_readme_of_images_reads_images(sales, tmp_path, fuse):
    folder = tmp_path / "img"
    for name in ("cat/1.png", "cat/2.png", "dog/1.png", "LICENSE"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
    sales.run("product", "new", "sales/img", folder, "-o", tmp_path / "c.yaml")
    sales.run("publish", "sales/img/1.0.0", folder, "--contract", tmp_path / "c.yaml")
    with sales.mount() as m:
        code = (m.path / "sales/img/README.md").read_text().split("## Use\n```python\n")[1].split("```")[0]
        assert "csv" not in code
        stub = "class Dataset: pass\ndef DataLoader(d, **k): return [d[i] for i in range(len(d))]\n"
        scope = {}
        exec(stub + code.replace("from torch.utils.data import DataLoader, Dataset\n", ""), scope)
        assert scope["loader"] == [b"cat/1.png", b"cat/2.png", b"dog/1.png"]


def test_readmes_tell_state_quality_and_filters(sales, fuse):
    often = contract(COLUMNS + EMAIL + "        tags: [pii]\n") + "slaProperties:\n  - {property: frequency, value: 1, unit: s}\n"
    publish(sales, "sales/orders/1.0.0", {"orders.csv": PEOPLE}, often)
    publish(sales, "sales/old/1.0.0", {"orders.csv": ROWS + "1,2\n"}, contract().replace("status: active", "status: deprecated"), "--with-failures", "known | so")
    time.sleep(1.1)
    with sales.mount() as m:
        text = (m.path / "sales/orders/README.md").read_text()
        assert "Newest version: **1.0.0**" in text and "**overdue**" in text and "every check passed" in text and "How it is filtered" not in text
        assert "| 1.0.0 | 20" in text and " 1 | " in text
        old = (m.path / "sales/old/README.md").read_text()
        assert "**1 check fails**" in old and "**This product is deprecated.**" in old and "known   so |" in old
        for name, link in (("README.md", "sales/old/"), ("sales/README.md", "old/")):
            (line,) = [line for line in (m.path / name).read_text().splitlines() if line.startswith("- [old]")]
            assert f"({link})" in line and "(deprecated)" in line and "1 check fails" in line and "1.0.0 is" in line
    (sales.folder / "policy/pii.policy").write_text("policy pii scope mesh version 1\n\ndrop no-pii\n  columns tagged pii\n")
    with sales.mount() as m:
        text = (m.path / "sales/orders/README.md").read_text()
        filters = text.split("## How it is filtered for you")[1].split("##")[0]
        assert "no-pii" in filters and "Quality:" not in text and "email" not in text.replace(filters, ""), text
        assert "1.0.0 is" in (m.path / "sales/README.md").read_text() and "filtered for you" in (m.path / "README.md").read_text()


def test_patterns_are_checked_in_parquet(sales):
    pyarrow, parquet = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    if not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("no DuckDB")
    (sales.folder / "in").mkdir()
    parquet.write_table(pyarrow.table({"code": ["AB1", "CD2", "x\n3", "AB\n", "ab1", None]}), sales.folder / "in/t.parquet")
    for pattern, wrong in (("^[A-Z]{2}\\\\d$", 3), ("..\\\\d", 2), ("(?i)ab1", 3)):
        columns = f'      - name: code\n        logicalType: string\n        logicalTypeOptions: {{pattern: "{pattern}"}}\n'
        path = sales.folder / "c.yaml"
        path.write_text(contract(columns).replace("*.csv", "*.parquet"))
        done = sales.run("publish", "sales/codes/1.0.0", sales.folder / "in", "--contract", path, status=3)
        assert f"values that do not match the pattern: {wrong}," in done.stderr, (pattern, done.stderr)
        assert "t.parquet row 3" in done.stderr, done.stderr


# -- ports ---------------------------------------------------------------------------------------------

PORTS = """apiVersion: v1.1.0
kind: DataProduct
id: shop-orders
name: Orders of all shops
status: active   # kept, with its comment
inputPorts:
- {name: till, version: 2.1.0, contractId: c-till}
outputPorts:
- {name: raw, version: 1.0.0, contractId: orders, type: files, description: one row an order}
- {name: clean, version: 1.0.0, contractId: nobody-has-it}
xOurs: also kept
"""


def test_a_description_of_products_tells_the_ports(sales, fuse):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, contract())
    publish(sales, "sales/other/1.0.0", {"orders.csv": ROWS}, contract().replace("id: orders", "id: other"))
    path = sales.folder / "shop.odps.yaml"
    path.write_text(PORTS)
    told = sales.json("product describe", "sales", path)[0]
    assert told["outcome"] == "described" and [p["product"] for p in told["output_ports"]] == ["orders", None]
    assert sales.json("product describe", "sales", path)[0]["outcome"] == "unchanged"
    assert sales.run("product", "describe", "sales", "--print", "shop-orders").stdout == PORTS
    shown = sales.json("show", "sales/orders")[0]["data_product"]
    assert (shown["id"], shown["name"], shown["status"]) == ("shop-orders", "Orders of all shops", "active")
    assert shown["output_port"]["name"] == "raw" and shown["input_ports"][0]["contract_id"] == "c-till"
    assert sales.json("show", "sales/other")[0]["data_product"] is None
    assert "raw 1.0.0, files" in sales.run("show", "sales/orders/1.0.0").stdout
    publish(sales, "sales/orders/1.0.1", {"orders.csv": ROWS + "51,1\n"})  # later versions of the catalog keep it
    with sales.mount() as m:
        readme = (m.path / "sales/orders/README.md").read_text()
        assert "output port `raw 1.0.0, files`" in readme and "- till 2.1.0" in readme and "one row an order" in readme
        assert "Ports" not in (m.path / "sales/other/README.md").read_text()
    path.write_text(PORTS.replace("outputPorts", "outputPort"))
    done = sales.run("product", "describe", "sales", path, status=2)
    assert "shop.odps.yaml:8:1" in done.stderr and "did you mean 'outputPorts'" in done.stderr
    sales.run("product", "describe", "sales", "--print", "none", status=4)
    sales.run("product", "describe", "sales", "--remove", "shop-orders")
    assert sales.json("show", "sales/orders")[0]["data_product"] is None


# -- changes and ends --------------------------------------------------------------------------------

def test_show_changes_tells_schema_rows_and_files(sales):
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS, "old.txt": "x", "same.txt": "s"}, contract())
    wider = contract(COLUMNS + "      - name: note\n        logicalType: string\n")
    publish(sales, "sales/orders/1.1.0", {"orders.csv": ROWS.replace("amount\n", "amount,note\n").replace(".5\n", ".5,x\n") + "99,1,y\n",
                                          "new.txt": "x", "same.txt": "s"}, wider)
    told = sales.json("show", "sales/orders/1.0.0", "--changes", "1.1.0")[0]
    assert told["step"] == "minor" and any("note" in line for line in told["schema"])
    assert told["rows"] == [50, 51] and told["files"] == [3, 3]
    assert [told[f"files_{k}"] for k in ("added", "changed", "removed", "same")] == [1, 1, 1, 1]
    text = sales.run("show", "sales/orders/1", "--changes", "sales/orders/1.0.0").stdout
    assert "note" in text and "major" in text and "51 -> 50 (-1)" in text
    sales.run("show", "sales/orders/1.0.0", "--changes", "9.9.9", status=4)
    sales.run("show", "sales/orders", "--changes", "1.0.0", status=2)


LOOKED = """      - name: id
        logicalType: integer
      - name: amount
        logicalType: number
        classification: internal
      - name: country
        logicalType: string
        classification: public
      - name: card
        logicalType: string
        classification: restricted
"""


def test_show_changes_tells_how_values_moved(sales):
    def rows(countries, nulls, top):
        return "id,amount,country,card\n" + "".join(f"{i},{i % top if i > nulls else ''},{countries[i % 2]},canary{i % 3}\n" for i in range(1, 101))
    publish(sales, "sales/orders/1.0.0", {"a.csv": rows(("DE", "FR"), 0, 10)}, contract(LOOKED))
    publish(sales, "sales/orders/1.0.1", {"a.csv": rows(("DE", "IT"), 25, 90)})
    told = sales.json("show", "sales/orders/1.0.0", "--changes", "1.0.1")[0]
    amount, country, card = (next(c for c in told["columns"] if c["column"] == name) for name in ("amount", "country", "card"))
    assert amount["before"] == {"object": "orders", "column": "amount", "values": 100, "nulls": 0, "distinct": 10, "exact": True, "min": 0, "max": 9,
                                "quantiles": amount["before"]["quantiles"]}
    assert (amount["after"]["nulls"], amount["after"]["max"], amount["after"]["quantiles"][2]) == (25, 89, 52)
    assert country["after"]["top"] == [{"value": "DE", "count": 50}, {"value": "IT", "count": 50}]
    assert card["before"]["distinct"] == 3 and not {"min", "max", "quantiles", "top"} & set(card["before"])
    text = sales.run("show", "sales/orders/1.0.0", "--changes", "1.0.1").stdout
    for line in ("nulls 0.0% -> 25.0%", "max 9 -> 89", "new among the commonest IT, no longer among them FR"):
        assert line in text, text
    assert "canary" not in text + json.dumps(told) + sales.run("show", "--json", "sales/orders").stdout


def test_distributions_are_for_who_sees_all_values(sales, fuse):
    """Who is shown a filtered view is told nothing that was computed from all rows."""
    publish(sales, "sales/orders/1.0.0", {"a.csv": "id,amount,country,card\n1,77777,DE,x\n"}, contract(LOOKED))
    with sales.mount() as m:
        assert "77777" in (m.path / "sales/orders/1.0.0/.mesh/quality.json").read_text()
    (sales.folder / "policy" / "rows.policy").write_text('policy rows scope mesh version 1\nfilter some\n  files **\n  rows row.id > 1\n')
    with sales.mount() as m:
        with pytest.raises(FileNotFoundError):
            (m.path / "sales/orders/1.0.0/.mesh/quality.json").read_text()
        for name in ("README.md", "contract.yaml"):
            assert "77777" not in (m.path / "sales/orders" / name).read_text()


def test_deprecation_is_told(sales, fuse):
    ending = contract().replace("status: active", "status: deprecated") + """slaProperties:
  - property: endOfSupport
    value: "2027-06-30"
"""
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, ending)
    shown = sales.run("show", "sales/orders/1.0.0").stdout
    assert "deprecated" in shown and "2027-06-30" in shown
    with sales.mount() as m:
        readme = (m.path / "sales/orders/README.md").read_text()
        assert "deprecated" in readme and "2027-06-30" in readme


def test_packed_files_meet_their_checks(sales):
    import gzip
    packed = contract().replace('"*.csv"', '"*"')
    half = len(ROWS) // 2
    members = gzip.compress(ROWS[:half].encode()) + gzip.compress(ROWS[half:].encode())
    publish(sales, "sales/orders/1.0.0", {"orders.csv.gz": members}, packed)
    assert sales.json("show", "sales/orders/1.0.0")[0]["quality"]["rows"] == 50
    done = publish(sales, "sales/orders/1.0.1", {"orders.csv.gz": gzip.compress((ROWS + "1,2\n").encode())}, status=3)
    assert "unique" in done.stderr and "orders.csv.gz" in done.stderr
    for broken in (members[:-20], b"no gzip at all, but long enough to be looked at"):
        done = publish(sales, "sales/orders/1.0.1", {"orders.csv.gz": broken}, status=3)
        assert "not checked in orders.csv.gz" in done.stderr, done.stderr
    if shutil.which("zstd"):
        source = sales.folder / "z"
        source.mkdir()
        (source / "orders.csv").write_text(ROWS + "77,2\n")
        subprocess.run(["zstd", "-q", "--rm", source / "orders.csv"], check=True)
        publish(sales, "sales/orders/1.0.1", source)
        assert sales.json("show", "sales/orders/1.0.1")[0]["quality"]["rows"] == 51


PARQUET_CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: a
version: 1.0.0
status: active
schema:
- name: t
  properties:
  - {name: id, logicalType: integer, required: true, unique: true}
  - {name: v, logicalType: number, logicalTypeOptions: {minimum: 0}}
"""


def parquet_folder(folder):
    pandas = pytest.importorskip("pandas")
    pytest.importorskip("pyarrow")
    folder.mkdir(parents=True)
    pandas.DataFrame({"id": [1, 2, 2, None], "v": [1.5, 2, 3, -1]}).astype({"id": "Int64"}).to_parquet(folder / "t.parquet")
    return folder


def test_parquet_is_checked_by_an_engine(mesh, tmp_path):
    """Types, nulls, keys, ranges and sql over Parquet, by DuckDB."""
    if not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("MESHFS_DUCKDB names no engine")
    source = parquet_folder(tmp_path / "pq")
    (tmp_path / "c.yaml").write_text(PARQUET_CONTRACT + "  quality:\n  - {type: sql, query: 'select count(*) from t where v > 0', mustBe: 3}\n")
    mesh.domain("d")
    done = mesh.run("publish", "d/p/1.0.0", str(source), "--contract", str(tmp_path / "c.yaml"), check=False)
    assert done.returncode == 3
    failed = {line.split(":")[1].strip() for line in done.stderr.splitlines() if line.startswith("error:")}
    assert failed == {"t.id required", "t.id unique", "t.v range"}, done.stderr


@pytest.mark.skipif(not os.environ.get("MESHFS_DUCKDB"), reason="no DuckDB here (MESHFS_DUCKDB)")
def test_sql_checks_see_the_version_and_nothing_else(sales, tmp_path):
    def check(name, query, wanted=0):
        return f"          - {{type: sql, name: {name}, query: {json.dumps(query)}, mustBe: {wanted}}}\n"
    checks = (check("nulls", "SELECT count(*) FROM {object} WHERE {property} IS NULL;") + check("truth", "SELECT count(*) = 50 FROM ${table} -- all", "true")
              + check("brackets", 'SELECT max("{column}") FROM "{object}"', 50))
    text = contract("      - name: id\n        quality:\n" + checks + "      - name: amount\n").replace("- name: orders", "- name: order")
    publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, text)
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    checks = (check("peek", f"SELECT count(*) FROM read_csv('{secret}')", 1) + check("write", f"COPY (SELECT 1) TO '{tmp_path}/evil.csv'")
              + check("several", "SELECT 0; SELECT 0") + check("column", "SELECT count(idd) FROM {object}") + check("values", "SELECT 'abc'::integer"))
    said = publish(sales, "sales/orders/2.0.0", {"orders.csv": ROWS}, text.replace("        quality:\n", "        quality:\n" + checks), status=3).stderr
    assert said.count("refuses the query") == 5 and not (tmp_path / "evil.csv").exists()
    assert '"idd"' in said and "abc" not in said  # words about the query, never values


DOUBLE = "id,amount,note,amount,,\n1,1.5,x,2.5,,\n2,7,y,8,,\n"


def test_a_column_that_is_there_twice_is_refused(sales, fuse):
    """pandas calls the second one amount.1, DuckDB amount_1, and checks would have looked at either."""
    text = contract(COLUMNS + "      - name: note\n        logicalType: string\n")
    said = publish(sales, "sales/orders/1.0.0", {"orders.csv": DOUBLE, "fine.csv": "id,amount,note\n7,1,z\n"}, text, status=3).stderr
    assert "error: orders names of columns: columns that a head names more than once: 1, there may be none (amount); first: orders.csv\n" in said
    assert publish(sales, "sales/orders/1.0.0", {"orders.csv": '"id",amount,id,"amount",note\n'}, text, status=3).stderr.count("(id, amount)") == 1
    with sales.mount() as m:
        (m.path / "sales/orders").mkdir()
        draft = m.path / "sales/orders/1.0.0.draft"
        draft.mkdir()
        (draft / ".mesh/contract.yaml").write_text(text)
        (draft / "orders.csv").write_text(DOUBLE)
        with pytest.raises(PermissionError):
            draft.rename(m.path / "sales/orders/1.0.0")
        assert "names more than once: 1, there may be none (amount); first: orders.csv" in (draft / ".mesh/problems.txt").read_text()
        (draft / "orders.csv").write_text(DOUBLE.replace(",amount,,", ",,,"))
        draft.rename(m.path / "sales/orders/1.0.0")  # a field without a name is not one that is there twice


@pytest.mark.parametrize("action,served", [("drop", "id,note\n1,x\n2,y\n"), ("mask", "id,amount,note,amount\n1,,x,\n2,,y,\n")])
def test_a_rule_holds_for_both_columns_of_a_name(sales, fuse, action, served):
    columns = "".join(f"      - {{name: {n}, logicalType: {t}, classification: public, tags: [{n}]}}\n" for n, t in (("id", "integer"), ("amount", "number"), ("note", "string")))
    publish(sales, "sales/orders/1.0.0", {"orders.csv": DOUBLE.replace(",,", "")}, contract(columns), "--with-failures", "as it is")
    rules = sales.folder / "policy/sales.policy"
    mine = rules.read_text()
    rules.write_text(mine + f"\n{action} amounts\n  columns tagged amount\n" + ("  with null\n" if action == "mask" else ""))
    with sales.mount() as m:
        assert (m.path / "sales/orders/1.0.0/orders.csv").read_text() == served
    rules.write_text(mine + "\nfilter rows\n  rows row.amount > 2\n")
    with sales.mount() as m:
        with pytest.raises(PermissionError):
            (m.path / "sales/orders/1.0.0/orders.csv").read_text()
        assert "amount" in (m.path / "sales/orders/1.0.0/.mesh/policy.txt").read_text()


ONTO = CONTRACT_HEAD + """- name: t
  physicalName: "**.{kind}"
  properties:
  - {{name: id, logicalType: integer, unique: true, classification: public}}
  quality:
  - {{metric: rowCount, mustBeBetween: [2, 5]}}
"""
ONTO_SQL = '  - {{type: sql, query: "SELECT count(*) = count(DISTINCT id) FROM {{object}}", mustBe: true}}\n'


@pytest.mark.parametrize("kind", ["csv", "csv.gz", "jsonl", "parquet", "csv and sql"])
def test_what_onto_keeps_is_checked_too(sales, tmp_path, kind):
    """Keys, counts and queries are of the whole version: what stays of the earlier one is read back."""
    if kind in ("parquet", "csv and sql") and not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("no DuckDB here (MESHFS_DUCKDB)")
    ending, temporary = kind.split()[0], tmp_path / "tmp"
    temporary.mkdir()

    def write(name, ids):
        path = tmp_path / f"{name}.{ending}"
        path.parent.mkdir(exist_ok=True)
        if ending == "jsonl":
            path.write_text("".join(f'{{"id": {i}}}\n' for i in ids))
        elif ending == "parquet":
            pq, pa = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
            pq.write_table(pa.table({"id": pa.array(ids, pa.int64())}), path)
        else:
            text = "id\n" + "".join(f"{i}\n" for i in ids)
            path.write_bytes(gzip.compress(text.encode()) if ending == "csv.gz" else text.encode())
        return path

    def publish_onto(version, base, *sources, status=0):
        return sales.run("publish", f"sales/t/{version}", *sources, "--onto", base, status=status, env={"TMPDIR": str(temporary)}).stderr

    (tmp_path / "c.yaml").write_text((ONTO + (ONTO_SQL if "sql" in kind else "")).format(kind=ending))
    write("d/a", [1, 2])
    (tmp_path / "d/notes.txt").write_text("kept, and looked at by nobody\n")
    sales.run("publish", "sales/t/1.0.0", tmp_path / "d", "--contract", tmp_path / "c.yaml")
    said = publish_onto("1.0.1", "1.0.0", write("b", [2, 3]), status=3)
    assert "t.id unique: repetitions of a value: 1" in said and ("t sql" in said) == ("sql" in kind), said
    publish_onto("1.0.1", "1.0.0", write("b", [3, 4]))
    quality = sales.json("show", "sales/t/1.0.1")[0]["quality"]
    assert quality["rows"] == 4 and quality["failed_errors"] == 0
    assert "rows: 6" in publish_onto("1.0.2", "1.0.1", write("c", [5, 6]), status=3)
    publish_onto("1.0.2", "1.0.1", write("b", [3, 7]))  # in the place of the other
    assert sales.json("show", "sales/t/1.0.2")[0]["quality"]["rows"] == 4
    assert "unique: repetitions of a value: 1" in publish_onto("1.0.3", "1.0.2", write("c", [7]), status=3)
    assert not list(temporary.iterdir())


def test_units_that_mean_nothing_fail(sales):
    text = contract("      - name: id\n        quality:\n          - {metric: nullValues, unit: pct, mustBe: 0}\n      - name: amount\n",
                    "    quality:\n      - {metric: rowCount, unit: percent, mustBe: 50}\n")
    said = publish(sales, "sales/orders/1.0.0", {"orders.csv": ROWS}, text, status=3).stderr
    assert "neither rows nor percent" in said and "no percent of anything" in said


@pytest.mark.skipif(not os.environ.get("MESHFS_DUCKDB"), reason="no DuckDB here (MESHFS_DUCKDB)")
def test_parquet_in_place_is_checked_where_it_lies_here(mesh, tmp_path):
    parquet_folder(tmp_path / "store" / "pq")
    mesh.domain("d", store=(tmp_path / "store").as_uri())
    text = PARQUET_CONTRACT + "  quality:\n  - {metric: rowCount, mustBe: 999}\n  - {type: sql, query: 'SELECT count(*) FROM {object}', mustBe: 998}\n"
    (tmp_path / "c.yaml").write_text(text)
    done = mesh.run("publish", "d/p/1.0.0", tmp_path / "store" / "pq", "--in-place", "--contract", tmp_path / "c.yaml", status=3)
    assert "rowCount: rows: 4" in done.stderr or "is 4" in done.stderr
    assert "must be 998, is 4" in done.stderr and "no SQL engine" not in done.stderr


def test_parquet_without_an_engine_warns_of_types_and_fails_listed_checks(mesh, tmp_path):
    source = parquet_folder(tmp_path / "pq")
    mesh.domain("d")
    mesh.env["MESHFS_DUCKDB"] = "/nonexistent/libduckdb.so"
    (tmp_path / "c.yaml").write_text(PARQUET_CONTRACT)
    done = mesh.run("publish", "d/p/1.0.0", str(source), "--contract", str(tmp_path / "c.yaml"))
    assert "t.id required" in done.stderr and "no SQL engine" in done.stderr and "error" not in done.stderr
    assert "warning: t personal data" in done.stderr and done.stderr.count("\n") < 4  # one line for all that was not checked
    bare = mesh.run("publish", "d/bare/1.0.0", str(source))
    assert "warning: personal data: must be declared (not checked in Parquet files: no SQL engine" in bare.stderr
    (tmp_path / "c.yaml").write_text(PARQUET_CONTRACT + "  quality:\n  - {metric: rowCount, mustBe: 4}\n")
    done = mesh.run("publish", "d/p/1.1.0", str(source), "--contract", str(tmp_path / "c.yaml"), check=False)
    assert done.returncode == 3 and "error: t rowCount" in done.stderr
