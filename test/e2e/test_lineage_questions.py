"""Questions about rows: trace, find, erasure-report, replay, summary.  The oracle is pandas over the files as they were published, with the rules in
the test's own words; the chain of runs is written down by hand.
"""
import collections
import copy
import grp
import hashlib
import io
import json
import os
import pwd
import random
import re
import shlex
import shutil
import sqlite3
import sys

import pytest

from meshkit import TOP, Mesh, binary, need_fuse

pd = pytest.importorskip("pandas")

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {name}
version: 1.0.0
status: active
description:
  purpose: {about}
team:
  name: {team}
  members:
    - username: {owner}
schema:
  - name: {name}
    physicalType: file
    properties:
{columns}
"""


def contract(path, name, columns, about="for tests", team="people", owner="ana", more=""):
    lines = "".join(f"      - {{name: {c}, logicalType: {t}{', tags: [pii]' if c == 'email' else ''}}}\n" for c, t in columns.items()).rstrip("\n")
    path.write_text(CONTRACT.format(name=name, about=about, team=team, owner=owner, columns=lines) + more)
    return path


ORDERS = {"order_id": "integer", "customer_id": "integer", "country": "string", "amount": "number"}
CUSTOMERS = {"customer_id": "integer", "email": "string", "zip": "string", "consent": "boolean"}
RULES = """policy privacy scope mesh version 1

filter consent-only
  files   crm/**
  when    purpose == training
  rows    row.consent == true
  reason  "no consent, no training"

mask no-email
  files   crm/**
  columns named email
  when    purpose == training
  with    null
  reason  "minimise"

filter domestic
  files   sales/orders/**
  when    purpose == report
  rows    row.country in {DE, FR}
  reason  "reports are of the home markets"
"""


def orders_csv(rng, first, count):
    rows = ["order_id,customer_id,country,amount"]
    for i in range(first, first + count):
        rows.append(f"{i},{rng.randrange(1, 40)},{rng.choice(['DE', 'FR', 'US'])},{rng.randrange(100, 99999) / 100}")
    return "\n".join(rows) + "\n"


def customers_jsonl(rng, count):
    return "".join(json.dumps({"customer_id": i, "email": f"c{i}@example.org" if i % 7 else None, "zip": f"{rng.randrange(1000, 99999):05}",
                               "consent": rng.random() < 0.6}) + "\n" for i in range(1, count + 1))


JOIN = """
import os, pandas as pd
m = os.environ["MESHFS_MOUNT"]
orders = pd.concat([pd.read_csv(f"{m}/sales/orders/1.0.0/{n}.csv") for n in ("a", "b")])
people = pd.read_json(f"{m}/crm/customers/1.0.0/people.jsonl", lines=True, dtype={"zip": str})
os.makedirs("joined", exist_ok=True)
orders.merge(people, on="customer_id").to_csv("joined/joined.csv", index=False)
"""


@pytest.fixture(scope="module")
def shop_as_built(tmp_path_factory):
    """Over three domains: orders and customers → joined → features → a model (train) and an evaluation; a report of orders alone."""
    need_fuse()
    rng, top = random.Random(17), tmp_path_factory.mktemp("shop")
    mesh = Mesh(top / "mesh")
    for name in ("sales", "crm", "ml"):
        mesh.domain(name)
    (mesh.folder / "policy" / "privacy.policy").write_text(RULES)
    mesh.sources = {
        "sales/orders/1.0.0": {"a.csv": orders_csv(rng, 1, 300), "b.csv": orders_csv(rng, 301, 200)},
        "sales/orders/1.1.0": {"a.csv": orders_csv(rng, 1, 50)},
        "crm/customers/1.0.0": {"people.jsonl": customers_jsonl(rng, 39)},
    }
    mesh.contracts = {"sales/orders": contract(top / "orders.yaml", "orders", ORDERS, about="every order of the shop", team="shop", owner="olga"),
                      "crm/customers": contract(top / "customers.yaml", "customers", CUSTOMERS, team="crm", owner="carl")}
    for address in ("sales/orders/1.0.0", "crm/customers/1.0.0"):
        mesh.publish(address, mesh.sources[address], "--contract", mesh.contracts[address.rsplit("/", 1)[0]])

    def step(name, shell, *args):
        mesh.run("run", "--name", name, *args, "--", "sh", "-ec", shell, cwd=top)

    (top / "join.py").write_text(JOIN)
    step("join", f"{sys.executable} join.py; {binary()} publish sales/joined/1.0.0 joined", "--purpose", "training")
    step("featurise", f"mkdir f; head -n 200 $MESHFS_MOUNT/sales/joined/1.0.0/joined.csv > f/f.csv; {binary()} publish ml/features/1.0.0 f")
    step("train", "cat $MESHFS_MOUNT/ml/features/latest/f.csv > model.bin", "--output", "model.bin", "--purpose", "training")
    step("evaluate", "cat $MESHFS_MOUNT/ml/features/1/f.csv > /dev/null")
    step("report", "cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv > report.csv", "--purpose", "report")
    mesh.tmp = top
    mesh.close()
    shutil.copytree(top, top.with_name(top.name + "-as-built"), symlinks=True)
    return mesh


@pytest.fixture
def shop(shop_as_built):
    """It, as it was built: in its place, as there are paths on record."""
    top = shop_as_built.tmp
    shutil.rmtree(top)
    shutil.copytree(top.with_name(top.name + "-as-built"), top, symlinks=True)
    mesh = Mesh(top / "mesh", init=False)
    mesh.tmp, mesh.sources, mesh.contracts = top, copy.deepcopy(shop_as_built.sources), shop_as_built.contracts
    mesh.step = lambda name, shell, *args: mesh.run("run", "--name", name, *args, "--", "sh", "-ec", shell, cwd=top)
    yield mesh
    mesh.close()


def frame(mesh, address, file):
    text = mesh.sources[address][file]
    return pd.read_csv(io.StringIO(text)) if file.endswith(".csv") else pd.read_json(io.StringIO(text), lines=True, dtype={"zip": str})


def traced(mesh, address, where, *args):
    return {(h["run"], h["address"]): h["rows"] for h in mesh.json("lineage trace", address, "--where", where, *args)}


def test_up_and_down(shop):
    def label(node):
        return node.get("address") or node.get("name") or os.path.basename(node["path"])

    everything = {"sales/orders/1.0.0", "crm/customers/1.0.0", "join", "sales/joined/1.0.0", "featurise", "ml/features/1.0.0", "train", "model.bin"}
    assert {label(n) for n in shop.json("lineage up", shop.tmp / "model.bin")} == everything
    assert {label(n) for n in shop.json("lineage down", "sales/orders")} == everything - {"crm/customers/1.0.0"} | {"report", "evaluate"}
    assert {label(n) for n in shop.json("lineage down", "crm/customers")} == everything - {"sales/orders/1.0.0"} | {"evaluate"}


def test_trace_equals_pandas(shop):
    a, b = frame(shop, "sales/orders/1.0.0", "a.csv"), frame(shop, "sales/orders/1.0.0", "b.csv")
    people = frame(shop, "crm/customers/1.0.0", "people.jsonl")
    home = a[a.country.isin(["DE", "FR"])]
    for customer in (17, 3, 22):
        expected = {("join", "sales/orders/1.0.0/a.csv"): (a.customer_id == customer).sum(),
                    ("join", "sales/orders/1.0.0/b.csv"): (b.customer_id == customer).sum(),
                    ("report", "sales/orders/1.0.0/a.csv"): (home.customer_id == customer).sum()}
        assert traced(shop, "sales/orders", f"customer_id == {customer}") == {k: n for k, n in expected.items() if n}
        kept = people[people.consent & (people.customer_id == customer)]
        assert traced(shop, "crm", f"customer_id == {customer}") == ({("join", "crm/customers/1.0.0/people.jsonl"): 1} if len(kept) else {})
    expected = ((a.amount > 500) & ~a.country.isin(["US"])).sum()
    assert traced(shop, "sales/orders/1.0.0/a.csv", "amount > 500 and not (country in {US})")[("report", "sales/orders/1.0.0/a.csv")] == expected
    assert traced(shop, "crm/customers/1.0.0", "email is null and consent == true") == {
        ("join", "crm/customers/1.0.0/people.jsonl"): (people.consent & people.email.isna()).sum()}
    hits = shop.json("lineage trace", "crm", "--where", "customer_id > 0")
    assert [h["purpose"] for h in hits] == ["training"] and "email (null)" in hits[0]["masks"] and "consent" in hits[0]["masks"]
    assert hits[0]["rows"] == people.consent.sum()
    # A column without a contract: the type is what it is compared with.
    joined = pd.read_csv(shop.tmp / "joined/joined.csv")
    assert traced(shop, "sales/joined", "customer_id == 17 and country == DE") == {
        ("featurise", "sales/joined/1.0.0/joined.csv"): ((joined.customer_id == 17) & (joined.country == "DE")).sum()}


def test_trace_after_newer_withdrawn_and_gone_versions(shop):
    before = traced(shop, "sales/orders", "customer_id == 17")
    shop.publish("sales/orders/1.1.0", shop.sources["sales/orders/1.1.0"])
    (shop.folder / "policy" / "privacy.policy").write_text(RULES.replace("{DE, FR}", "{US}"))  # what is in force today does not matter
    assert traced(shop, "sales/orders", "customer_id == 17") == before
    assert traced(shop, "sales/orders/latest", "customer_id == 17") == {}
    assert "No run on record" in shop.run("lineage", "trace", "sales/orders/1.1.0", "--where", "customer_id == 17").stdout
    shop.run("withdraw", "sales/orders/1.0.0", "--reason", "a mistake")
    hits = shop.json("lineage trace", "sales/orders", "--where", "customer_id == 17")
    assert {(h["run"], h["address"]): h["rows"] for h in hits} == before and {h["status"] for h in hits} == {"withdrawn"}
    shutil.rmtree(shop.folder / "stores" / "sales" / ".mesh" / "packs")
    shutil.rmtree(shop.folder / "home" / "cache")
    told = shop.json("lineage trace", "sales/orders", "--where", "customer_id == 17")
    assert {t["status"] for t in told} == {"gone"} and {t["address"] for t in told} >= {"sales/orders/1.0.0/a.csv"}
    assert "gone or cannot be looked at" in shop.run("lineage", "trace", "sales/orders", "--where", "customer_id == 17").stdout


def test_wrong_questions(shop):
    for where in ("customer_id = 17", "customer_id ==", "17 == 17", "", "customer_id == Bob"):
        done = shop.run("lineage", "trace", "sales/orders", "--where", where, check=False)
        assert done.returncode in (2, 3) and done.stderr.count("\n") == 1, where
    shop.run("lineage", "trace", "sales/orders", status=2)
    for address, file in (("sales/orders", "a.csv"), ("crm/customers", "people.jsonl"), ("sales/joined", "joined.csv")):
        done = shop.run("lineage", "trace", address, "--where", "custmer_id == 17", status=2)  # misspelt: no row is no answer
        assert "no column custmer_id" in done.stderr and not done.stdout, (address, file)
    shop.run("lineage", "trace", "sales/orders", "--where", "customer_id == 17", "--run", "nobody", status=4)
    shop.run("lineage", "denials", "sales/orders/1.0.0")  # known, and none was refused
    shop.run("lineage", "denials", "sales")


def test_names_that_there_are_not(shop):
    """An empty answer to a mistyped name would pass for a proof."""
    rows = shop.tmp / "rows.csv"
    rows.write_text(shop.sources["sales/orders/1.0.0"]["a.csv"])
    for what, why in (("nope", "no such domain"), ("nope/orders", "no such domain"), ("sales/ordres", "no such product (did you mean 'orders'?)"),
                      ("sales/ordres/latest", "no such product (did you mean 'orders'?)"), ("sales/orders/9.9.9", "no such version; the newest is 1.0.0"),
                      ("sales/orders/1.0.0/aa.csv", "no such file (did you mean 'a.csv'?)"), ("sales/orders/1.0.0/deep/other.csv", "no such file; 'meshfs ls")):
        for verb in ("reads", "denials", "up", "down", "summary", "trace", "erasure-report", "find", "export"):
            asked = {"trace": [what, "--where", "customer_id == 17"], "erasure-report": [what, "--where", "customer_id == 17"], "find": [rows, "--in", what],
                     "export": ["--format", "dot", what]}.get(verb, [what])
            done = shop.run("lineage", verb, *asked, status=4)
            graph = verb in ("up", "down", "summary", "export") and what.startswith("nope")  # which may as well be a run or an output
            assert ("nothing is known of it" if graph else why) in done.stderr and not done.stdout, (verb, what)
    done = shop.run("lineage", "find", rows, "--column", "custmer_id", status=4)
    assert "no column custmer_id (did you mean 'customer_id'?)" in done.stderr
    # What the catalog lost stays on record, and is told of.
    shop.run("withdraw", "sales/orders/1.0.0", "--reason", "a mistake")
    for address in ("sales/orders/1.0.0", "sales/orders/1.0.0/a.csv", "sales"):
        for verb in ("reads", "up", "down"):
            assert shop.run("lineage", verb, address).stdout, (verb, address)
    assert {n.get("address") for n in shop.json("lineage down", "sales")} >= {"sales/orders/1.0.0", "sales/joined/1.0.0", "ml/features/1.0.0"}


def test_a_database_that_cannot_be_opened(shop):
    shop.file.write_text(re.sub(r"^lineage:.*\n", "", shop.file.read_text(), flags=re.M) + "lineage: { db: /proc/nowhere/lineage.db }\n")
    for words in (("runs",), ("reads", "sales/orders"), ("trace", "sales/orders", "--where", "customer_id == 17")):
        done = shop.run("lineage", *words, status=1)
        assert "/proc/nowhere" in done.stderr


def test_what_is_no_lineage_database(shop, tmp_path):
    """Said, with what to do about it, and left as it is."""
    text = re.sub(r"^lineage:.*\n", "", shop.file.read_text(), flags=re.M)
    (tmp_path / "folder").mkdir()
    with sqlite3.connect(tmp_path / "foreign") as db:
        db.execute("CREATE TABLE invoices(id)")
    with sqlite3.connect(tmp_path / "newer") as db:
        db.execute("PRAGMA user_version = 99")
    (tmp_path / "text").write_text("a letter\n")
    for name, status, words in (("folder", 1, "set lineage.db"), ("foreign", 1, "it has a 'invoices'"), ("newer", 1, "a newer meshfs"),
                                ("text", 5, "move it away")):
        before = (tmp_path / name).read_bytes() if name != "folder" else None
        shop.file.write_text(text + f"lineage: {{ db: {tmp_path / name} }}\n")
        for command in (("lineage", "runs"), ("lineage", "verify")):
            done = shop.run(*command, status=status)
            assert words in done.stderr and str(tmp_path / name) in done.stderr
        assert words in shop.run("run", "--", "true", status=125).stderr
        assert before is None or (tmp_path / name).read_bytes() == before


def test_files_without_rows_are_no_answer(shop):
    folder = shop.tmp / "notes"
    folder.mkdir()
    (folder / "README.txt").write_text("customer_id is 17\n")
    (folder / "people.csv").write_text("customer_id,name\n17,ana\n")
    shop.run("publish", "sales/notes/1.0.0", folder)
    shop.run("run", "--name", "notes", "--", "sh", "-c", "cat $MESHFS_MOUNT/sales/notes/1.0.0/*")
    assert traced(shop, "sales/notes", "customer_id == 17") == {("notes", "sales/notes/1.0.0/people.csv"): 1}
    assert len(shop.json("lineage trace", "sales/notes", "--where", "customer_id == 17")) == 1
    shop.run("lineage", "trace", "sales/notes", "--where", "customer == 17", status=2)


def test_erasure_report(shop):
    shop.publish("sales/orders/1.1.0", shop.sources["sales/orders/1.1.0"])
    customer = 17
    counts = {(v, f): int((frame(shop, v, f).customer_id == customer).sum()) for v in ("sales/orders/1.0.0", "sales/orders/1.1.0")
              for f in shop.sources[v]}
    kinds = collections.defaultdict(list)
    for item in shop.json("lineage erasure-report", "sales/orders", "--where", f"customer_id == {customer}"):
        kinds[item["kind"]].append(item)
    holds = {v: sum(n for (w, _), n in counts.items() if w == v) for v, _ in counts}
    assert {v["address"]: v["rows"] for v in kinds["version"] if v["relation"] == "holds"} == {v: n for v, n in holds.items() if n}
    assert {v["address"] for v in kinds["version"] if v["relation"] == "descends"} == {"sales/joined/1.0.0", "ml/features/1.0.0"}
    a = frame(shop, "sales/orders/1.0.0", "a.csv")
    served = {"join": holds["sales/orders/1.0.0"], "report": int((a[a.country != "US"].customer_id == customer).sum())}
    assert {r["run"]: r["rows"] for r in kinds["run"] if r["relation"] == "served"} == {k: n for k, n in served.items() if n}
    assert {r["run"] for r in kinds["run"] if r["relation"] == "descends"} == {"featurise", "train", "evaluate"}
    assert [o["sha256"] for o in kinds["output"]] == [hashlib.sha256((shop.tmp / "model.bin").read_bytes()).hexdigest()]
    assert {d["domain"] for d in kinds["domain"]} == {"sales", "ml"}
    assert next(d["team"] for d in kinds["domain"] if d["domain"] == "sales").count("olga") == 1
    assert len(kinds["user"]) == 1 and set(kinds["user"][0]["runs"]) == {r["run"] for r in kinds["run"]}
    if served["report"]:
        assert ["report"] in [v["runs"] for v in kinds["view"]] and "rows where" in kinds["view"][0]["masks"]
    words = shop.run("lineage", "erasure-report", "sales/orders", "--where", f"customer_id == {customer}").stdout
    assert "People to tell" in words and "model.bin" in words and "sales/joined/1.0.0  by descent" in words
    nobody = shop.run("lineage", "erasure-report", "sales/orders", "--where", "customer_id == 4711").stdout
    assert "No version" in nobody


def test_pruned_reads_are_told_of(shop):
    shop.run("lineage", "prune", "--before", "2100-01-01")
    told = shop.json("lineage trace", "sales/orders", "--where", "customer_id == 17")
    assert {t["status"] for t in told} == {"gone"} and any("join" in t["why"] and "pruned" in t["why"] for t in told)


def found(mesh, path, *args):
    """{record: {(address, row)}}"""
    sources = collections.defaultdict(set)
    for s in mesh.json("lineage find", path, *args):
        sources[s["record"]] |= {(s["address"], s["row"])} if s["address"] else set()
    return dict(sources)


def matches(asked, sources):
    """The same by pandas: {address: frame} → every row that agrees in all columns of `asked`."""
    expected = {i + 1: set() for i in range(len(asked))}
    left = asked.reset_index(drop=True).assign(record=range(1, len(asked) + 1))
    for address, source in sources.items():
        if not set(asked.columns) <= set(source.columns):
            continue
        right = source[list(asked.columns)].assign(row=range(1, len(source) + 1))
        for _, pair in left.merge(right, on=list(asked.columns)).iterrows():
            expected[pair["record"]].add((address, pair["row"]))
    return expected


def test_find_equals_pandas(shop):
    shop.publish("sales/orders/1.1.0", {**shop.sources["sales/orders/1.1.0"], "b.csv": shop.sources["sales/orders/1.0.0"]["b.csv"]})
    shop.sources["sales/orders/1.1.0"]["b.csv"] = shop.sources["sales/orders/1.0.0"]["b.csv"]
    everywhere = {f"{v}/{f}": frame(shop, v, f) for v in shop.sources for f in shop.sources[v]}
    everywhere["sales/joined/1.0.0/joined.csv"] = pd.read_csv(shop.tmp / "joined/joined.csv")
    everywhere["ml/features/1.0.0/f.csv"] = pd.read_csv(shop.tmp / "f/f.csv")
    a, b = everywhere["sales/orders/1.0.0/a.csv"], everywhere["sales/orders/1.0.0/b.csv"]
    asked = pd.concat([a.sample(20, random_state=1), b.sample(20, random_state=2), a.head(1).assign(amount=-1.5)])
    asked = asked[["amount", "country", "order_id", "customer_id"]]  # another order, another format, other numbers
    asked.assign(order_id=asked.order_id.astype(float)).to_json(shop.tmp / "asked.jsonl", orient="records", lines=True)
    asked.to_csv(shop.tmp / "asked.csv", index=False)
    expected = matches(asked, everywhere)
    assert any(len(s) > 2 for s in expected.values()) and not expected[41]
    assert found(shop, shop.tmp / "asked.jsonl") == expected
    assert found(shop, shop.tmp / "asked.csv") == expected
    within = {a: f for a, f in everywhere.items() if a.startswith("sales/orders/1.0.0/")}
    assert found(shop, shop.tmp / "asked.csv", "--in", "sales/orders/1.0") == matches(asked, within)
    # Only what a run was served: the report saw a.csv without the rows from abroad.
    home = a[a.country != "US"]
    mine = matches(asked, {"sales/orders/1.0.0/a.csv": a})
    seen = {r: s if r <= 40 and asked.country.iloc[r - 1] != "US" else set() for r, s in mine.items()}
    assert found(shop, shop.tmp / "asked.csv", "--run", "report") == seen and len(home) < len(a)
    totals = collections.Counter(v for s in expected.values() for v in {address.rsplit("/", 1)[0] for address, _ in s})
    told = shop.json("lineage find", shop.tmp / "asked.csv", "--summary")
    assert {t["address"]: t["records"] for t in told} == {**totals, None: 1}
    assert [t["records"] for t in told[:-1]] == sorted(totals.values(), reverse=True)
    assert {t["address"]: t["files"] for t in told if t["address"]} == {v: len({a for s in expected.values() for a, _ in s if a.startswith(v + "/")}) for v in totals}
    assert "40 of 41 records found" in shop.run("lineage", "find", shop.tmp / "asked.csv", "--summary").stdout
    words = shop.run("lineage", "find", shop.tmp / "asked.csv").stdout
    assert words.endswith("40 of 41 records found\n") and "record 41: not found" in words


def test_find_through_masks(shop):
    people = frame(shop, "crm/customers/1.0.0", "people.jsonl")
    served = people[people.consent].assign(email=None)
    served.sample(frac=1, random_state=3).to_csv(shop.tmp / "served.csv", index=False)
    asked = pd.read_csv(shop.tmp / "served.csv", dtype={"zip": str})
    rows = {int(c): {("crm/customers/1.0.0/people.jsonl", i + 1)} for i, c in enumerate(people.customer_id)}
    expected = {i + 1: rows[c] for i, c in enumerate(asked.customer_id)}
    assert found(shop, shop.tmp / "served.csv", "--run", "join") == expected
    assert found(shop, shop.tmp / "served.csv", "--in", "crm") == expected
    through = [s for s in shop.json("lineage find", shop.tmp / "served.csv", "--in", "crm") if s["view"]]
    masked = set(people[people.consent & people.email.notna()].customer_id)
    assert {asked.customer_id[s["record"] - 1] for s in through} == masked  # where the mask took nothing away, it is the file's own row
    refused = people[~people.consent].assign(email=None)
    refused.to_csv(shop.tmp / "refused.csv", index=False)
    assert not any(found(shop, shop.tmp / "refused.csv", "--run", "join").values())
    pd.DataFrame({"customer_id": [5], "score": [0.5]}).to_csv(shop.tmp / "scored.csv", index=False)
    assert not any(found(shop, shop.tmp / "scored.csv", "--in", "crm").values())
    assert found(shop, shop.tmp / "scored.csv", "--in", "crm", "--column", "customer_id") == {1: rows[5]}
    shop.run("lineage", "find", shop.tmp / "nothing.csv", status=4)
    shop.run("lineage", "find", shop.tmp / "model.bin", check=False)


def test_replay(shop):
    same = shop.json("lineage replay", "join")
    assert {s["address"] for s in same} == {"sales/orders/1.0.0/a.csv", "sales/orders/1.0.0/b.csv", "crm/customers/1.0.0/people.jsonl"}
    assert all(s["same"] and s["view"] == s["view_today"] and s["outcome_today"] == "served" for s in same)
    assert "all 3 reads of join the same" in shop.run("lineage", "replay", "join").stdout
    policy = shop.folder / "policy" / "privacy.policy"
    policy.write_text(RULES.replace("with    null", "with    redact"))
    told = {s["address"]: s for s in shop.json("lineage replay", "join", status=3)}
    assert {a for a, s in told.items() if not s["same"]} == {"crm/customers/1.0.0/people.jsonl"}
    policy.write_text(RULES + "\ndeny no-orders\n  files   sales/orders/**\n  when    purpose == training\n  reason  \"not for training\"\n")
    done = shop.run("lineage", "replay", "join", status=3)
    assert "2 of 3 reads" in done.stderr and "privacy/no-orders" in done.stdout and "not for training" in done.stdout
    shop.run("lineage", "replay", "report")  # its purpose is another
    policy.write_text(RULES)
    shop.run("withdraw", "sales/orders/1.0.0", "--reason", "a mistake")
    told = {s["address"]: s for s in shop.json("lineage replay", "report", status=3)}
    assert told["sales/orders/1.0.0/a.csv"]["outcome_today"] == "gone"
    shop.run("lineage", "replay", "nobody", status=4)


def test_replay_with_the_groups_of_then(shop):
    (journals,) = shop.folder.rglob("*.journals")
    database = str(journals).removesuffix(".journals")
    with sqlite3.connect(database) as db:
        groups = json.loads(db.execute("SELECT groups FROM mesh_runs WHERE name = 'report'").fetchone()[0])
    assert sorted(groups) == sorted({grp.getgrgid(g).gr_name for g in os.getgrouplist(pwd.getpwuid(os.geteuid()).pw_name, os.getegid())})
    shop.run("lineage", "replay", "report")
    shop.run("lineage", "verify")
    policy = shop.folder / "policy" / "privacy.policy"
    policy.write_text(RULES + "\ndeny auditors-only\n  files   sales/orders/**\n  unless  group == auditors\n  reason  \"for auditors\"\n")
    shop.run("lineage", "replay", "report", status=3)
    with sqlite3.connect(database) as db:  # he was in that group then
        db.execute("UPDATE runs SET groups = '[\"auditors\"]' WHERE name = 'report'")
    shop.run("lineage", "replay", "report")
    shop.run("lineage", "verify", status=5)  # the groups are sealed


def test_summary_by_source(shop):
    sources = {s["address"]: s for s in shop.json("lineage summary", "train")}
    assert {a: (s["origin"], s["files_read"]) for a, s in sources.items()} == {
        "ml/features/1.0.0": (False, 1), "sales/joined/1.0.0": (False, 1), "sales/orders/1.0.0": (True, 2), "crm/customers/1.0.0": (True, 1)}
    orders, people = sources["sales/orders/1.0.0"], sources["crm/customers/1.0.0"]
    assert orders["files"] == 2 and orders["bytes"] == sum(len(t) for t in shop.sources["sales/orders/1.0.0"].values())
    assert orders["description"] == "every order of the shop" and "olga" in orders["team"] and orders["views"] == ["as it is"]
    assert len(people["views"]) == 1 and 'column "email" null' in people["views"][0] and "row.consent" in people["views"][0]
    assert sources.keys() == {s["address"] for s in shop.json("lineage summary", shop.tmp / "model.bin")}
    assert {s["address"] for s in shop.json("lineage summary", "sales/joined/latest")} == {"sales/orders/1.0.0", "crm/customers/1.0.0"}
    words = shop.run("lineage", "summary", "train").stdout
    assert "read         2 of 2 files" in words and "not said by the contract" in words


def test_the_eleven_questions_of_the_docs(shop):
    """Each answer in the docs is a command that runs, over this mesh."""
    table = re.search(r"^## Eleven questions.*?(?=^## )", (TOP / "docs" / "LINEAGE.md").read_text(), re.S | re.M)[0]
    rows = [line for line in table.splitlines() if line.startswith("| ") and "`" in line]
    assert len(rows) == 11
    (shop.tmp / "training.csv").write_text((shop.tmp / "f/f.csv").read_text())
    for row in rows:
        for command in re.findall("`meshfs ([^`]*)`", row):
            out = shop.run(*shlex.split(command), cwd=shop.tmp).stdout
            assert out or "denials" in command, command
