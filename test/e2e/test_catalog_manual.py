"""meshfs-catalog(5): its tables are the real ones, its queries run and answer."""
import re
import sqlite3

import pytest

from meshkit import TOP, Mesh, need_fuse
from test_docs import examples

PAGE = "meshfs-catalog.5"
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: sales-orders
name: orders
version: 1.0.0
status: active
schema:
  - name: orders
    properties:
      - { name: id, logicalType: integer, classification: internal }
      - { name: email, logicalType: string, tags: [pii], classification: restricted }
"""


def tables():
    """{table: [columns]} of the page."""
    text = (TOP / "docs" / PAGE).read_text()
    return {name: names.split() for name, names in re.findall(r"^\.TP\n\.B ([a-z_]+)\n([a-z0-9_ ]+)$", text, re.M)}


def read_only(path):
    return sqlite3.connect(f"file:{path}?mode=ro", uri=True)


def columns(db, table):
    return [row[1] for row in db.execute(f"PRAGMA table_info({table})")]


@pytest.fixture(scope="module")
def databases(tmp_path_factory):
    need_fuse()
    mesh = Mesh(tmp_path_factory.mktemp("catalog") / "mesh")
    store = mesh.domain("sales").removeprefix("file://")
    (mesh.folder / "policy" / "use.policy").write_text(
        "policy use scope mesh version 1\n\ndrop email\n  columns named email\n  when purpose == training\n\n"
        "deny ads\n  files **\n  when purpose == advertising\n")
    contract = mesh.folder / "orders.yaml"
    contract.write_text(CONTRACT)
    mesh.publish("sales/orders/1.0.0", {"a.csv": "id,email\n1,x\n", "long.csv": "id,email\n" + "".join(f"{n},y\n" for n in range(50))},
                 "--contract", contract)
    totals = mesh.folder / "totals"
    totals.mkdir()
    mesh.run("run", "--name", "totals", "--purpose", "reporting", "--", "sh", "-c",
             f'wc -l < "$MESHFS_MOUNT"/sales/orders/1.0.0/a.csv > {totals}/t.txt && {mesh.command()[0]} -m {mesh.file} publish sales/totals/1.0.0 {totals}')
    mesh.run("run", "--name", "report", "--purpose", "reporting", "--", "sh", "-c",
             f'cat "$MESHFS_MOUNT"/sales/totals/1.0.0/t.txt > {totals}/r.txt && {mesh.command()[0]} -m {mesh.file} publish sales/report/1.0.0 {totals}')
    mesh.run("run", "--name", "model", "--purpose", "training", "--", "sh", "-c", 'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/a.csv')
    mesh.run("run", "--name", "ads", "--purpose", "advertising", "--", "sh", "-c", '! cat "$MESHFS_MOUNT"/sales/orders/1.0.0/a.csv')
    mesh.run("lineage", "up", "sales/report/1.0.0")
    (lineage,) = [s["database"] for s in mesh.json("status") if s["kind"] == "lineage"]
    (mesh_version,) = mesh.json("show", "sales/orders/1.0.0")
    generation = [s["generation"] for s in mesh.json("status") if s["kind"] == "domain"][0]
    head = (TOP / store / ".mesh/heads" / str(generation)).read_text()
    snapshot = re.search(r"[0-9a-f]{64}", head)[0]
    yield {"lineage": lineage, "manifest": f"{store}/.mesh/manifests/{mesh_version['manifest']}", "snapshot": f"{store}/.mesh/snapshots/{snapshot}"}
    mesh.close()


def test_tables_are_as_the_page_says(databases):
    page = tables()
    kinds = {"snapshot": [t for t in ("meta", "product", "version", "contract", "policy", "condemned", "search")],
             "manifest": ["manifest", "entry", "chunk", "pack"],
             "lineage": [t for t in page if t.startswith("mesh_")]}
    assert sorted(page) == sorted(sum(kinds.values(), [])) and len(kinds["lineage"]) == 7
    for kind, names in kinds.items():
        with read_only(databases[kind]) as db:
            for name in names:
                assert columns(db, name) == page[name], name
            if kind == "lineage":
                assert {r[0] for r in db.execute("SELECT name FROM sqlite_master WHERE type = 'view'")} == set(names)


def query(databases, text):
    kind = re.match(r"-- database: (\w+)\n", text)[1]
    with read_only(databases[kind]) as db:
        return db.execute(text).fetchall()


def test_queries_of_the_page(databases):
    queries = [e for e in examples(PAGE) if e.startswith("-- database")]
    largest, told, steps, down, most, denials, views = [query(databases, q) for q in queries]
    assert [bytes(n).decode() if isinstance(n, bytes) else n for n, _ in largest] == ["long.csv", "a.csv"]
    assert sorted(r[1] for r in told) == ["model", "totals"]
    assert sorted(steps) == [("sales/report/1.0.0", "sales/totals/1.0.0", "report"), ("sales/totals/1.0.0", "sales/orders/1.0.0", "totals")]
    assert sorted(down) == [("sales/report/1.0.0",), ("sales/totals/1.0.0",)]
    assert most == [("sales/orders/1.0.0/a.csv", 1)]
    assert denials == [("use/ads", 1, 1)]
    assert [p for p, _ in views] == ["training"] and "drop" in views[0][1]
