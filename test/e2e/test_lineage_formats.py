"""Questions about rows of every format: separated text and JSON lines, packed with gzip and zstd, Parquet, and many small files of one pack.  The oracle is pandas over
the table that all of them were written from, with the rules in the test's own words.
"""
import collections
import gzip
import json
import os
import random

import pytest

from meshkit import TOP  # noqa: F401

pd = pytest.importorskip("pandas")

ENGINE = bool(os.environ.get("MESHFS_DUCKDB"))
FORMATS = ["t.csv", "t.tsv", "t.jsonl", "t.csv.gz", "t.jsonl.gz", "t.csv.zst", "t.jsonl.zst", "t.parquet"]
SMALL = 80  # files of one pack

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
description: {purpose: for tests}
schema:
  - name: people
    physicalType: file
    properties:
      - {name: id, logicalType: integer}
      - {name: customer, logicalType: integer}
      - {name: email, logicalType: string, tags: [pii]}
      - {name: born, logicalType: date}
      - {name: amount, logicalType: number, tags: [pii]} # some look like telephone numbers
      - {name: member, logicalType: boolean}
"""
RULES = """policy privacy scope mesh version 1

filter members
  files   **
  when    purpose == training
  rows    row.member == true

mask no-email
  columns named email
  when    purpose == training
  with    partial first 1

drop no-birthday
  columns named born
  when    purpose == reporting
"""


def table(seed, first, rows):
    rnd = random.Random(seed)
    return pd.DataFrame({
        "id": range(first, first + rows),
        "customer": [rnd.randrange(1, 30) for _ in range(rows)],
        "email": [rnd.choice(["ana@x.org", 'o"hara@x.org', "li,wei@x.org", "two\nlines@x.org", None]) for _ in range(rows)],
        "born": [f"19{rnd.randrange(40, 99)}-{rnd.randrange(1, 13):02}-{rnd.randrange(1, 29):02}" for _ in range(rows)],
        "amount": [rnd.choice([rnd.randrange(10000) / 100, rnd.randrange(100), 0.1 + 0.2, 1e21, -0.5]) for _ in range(rows)],
        "member": [rnd.random() < 0.6 for _ in range(rows)],
    })


def write(frame, path):
    name = path.name
    compression = "gzip" if name.endswith(".gz") else "zstd" if name.endswith(".zst") else None
    if ".parquet" in name:
        frame.assign(born=pd.to_datetime(frame.born).dt.date).to_parquet(path, index=False, row_group_size=97)
    elif ".jsonl" in name:
        # json has every digit of a number, pandas' own writer has fifteen
        text = "".join(json.dumps({k: None if v is None or v != v else v for k, v in row.items()}) + "\n" for row in frame.to_dict("records"))
        with pd.io.common.get_handle(path, "w", compression=compression) as handle:
            handle.handle.write(text)
    else:
        frame.to_csv(path, index=False, sep="\t" if ".tsv" in name else ",", compression=compression)
    return path


@pytest.fixture
def people(mesh, fuse, tmp_path):
    """Every format of one table, and many small files of another; read for training (rows and a column changed), for reporting (a column less) and plainly."""
    if not ENGINE:
        pytest.skip("MESHFS_DUCKDB names no engine")
    mesh.domain("crm")
    (mesh.folder / "policy" / "privacy.policy").write_text(RULES)
    (tmp_path / "people.yaml").write_text(CONTRACT)
    source = tmp_path / "source"
    (source / "small").mkdir(parents=True)
    mesh.frames = {}
    for name in FORMATS:
        mesh.frames[name] = table(1, 1, 700)
        write(mesh.frames[name], source / name)
    for i in range(SMALL):
        name = f"small/{i:03}.{random.Random(i).choice(['csv', 'jsonl', 'csv.gz'])}"
        mesh.frames[name] = table(100 + i, 10_000 + 10 * i, random.Random(i).randrange(1, 9))
        write(mesh.frames[name], source / name)
    mesh.run("publish", "crm/people/1.0.0", source, "--contract", tmp_path / "people.yaml")
    for purpose in ("training", "reporting", "billing"):
        mesh.run("run", "--name", purpose, "--purpose", purpose, "--", "sh", "-ec", "find $MESHFS_MOUNT/crm/people/1.0.0 -type f | xargs cat > /dev/null")
    mesh.tmp = tmp_path
    return mesh


def first_letters(frame):
    return frame.assign(email=[e[:1] + "*" * (len(e) - 1) if isinstance(e, str) else e for e in frame.email])


def served(frame, run):
    if run == "training":
        return first_letters(frame[frame.member])
    return frame.drop(columns="born") if run == "reporting" else frame


def test_trace_and_erasure_equal_pandas(people):
    files = collections.defaultdict(lambda: collections.defaultdict(int))
    for where, rows in (("customer == 17", lambda f: f.customer == 17), ("amount > 50 and not (customer in {3, 4})", lambda f: (f.amount > 50) & ~f.customer.isin([3, 4])),
                        ('email == "ana@x.org" and born < 1970-01-01', lambda f: (f.email == "ana@x.org") & (f.born < "1970-01-01")),
                        ("email is null", lambda f: f.email.isna())):
        expected = {}
        for name, frame in people.frames.items():
            # Which rows a run was served depends on its filter alone; a question reads the raw values.
            for run, kept in (("training", frame[frame.member]), ("reporting", frame), ("billing", frame)):
                if n := int(rows(kept).sum()):
                    expected[run, f"crm/people/1.0.0/{name}"] = n
            files[where][name] = int(rows(frame).sum())
        hits = people.json("lineage trace", "crm/people", "--where", where)
        assert {h["status"] for h in hits} == {"active"}
        assert {(h["run"], h["address"]): h["rows"] for h in hits} == expected, where
        report = people.json("lineage erasure-report", "crm", "--where", where)
        assert [v["rows"] for v in report if v["kind"] == "version"] == [sum(files[where].values())]
        assert {f: int(n) for f, n in (x.rsplit(": ", 1) for v in report if v["kind"] == "version" for x in v["files"])} == {f: n for f, n in files[where].items() if n}


def found(mesh, path, *args):
    sources = collections.defaultdict(set)
    for s in mesh.json("lineage find", path, *args):
        sources[s["record"]] |= {(s["file"], s["row"])} if s["address"] else set()
    return dict(sources)


def sources_of(asked, frames):
    """By pandas: {record: {(file, row)}} of the rows that agree in all columns, nulls included; what a run did not see (None in the map) is no row."""
    places = collections.defaultdict(set)
    for name, frame in frames.items():
        for row, record in zip(frame.index + 1, frame.astype(object).where(frame.notna(), None).itertuples(index=False)):
            places[tuple(record)] |= {(name, row)}
    return {i + 1: places.get(tuple(r), set()) for i, r in enumerate(asked.astype(object).where(asked.notna(), None).itertuples(index=False))}


@pytest.mark.parametrize("name", ["asked.csv", "asked.jsonl", "asked.parquet", "asked.csv.gz", "asked.jsonl.zst"])
def test_find_equals_pandas(people, name):
    small = [f for n, f in people.frames.items() if n.startswith("small/")]
    asked = pd.concat([people.frames["t.csv"].sample(40, random_state=1), *[f.sample(1, random_state=2) for f in small[::5]], table(999, 900_000, 5)])
    path = write(asked, people.tmp / name)
    expected = sources_of(asked, people.frames)
    assert len(expected[1]) == len(FORMATS) and not expected[len(asked)]
    assert found(people, path, "--in", "crm") == expected
    assert found(people, path, "--run", "billing") == expected
    only = {n: f for n, f in people.frames.items() if n == "t.parquet"}
    assert found(people, path, "--in", "crm/people/latest/t.parquet") == sources_of(asked, only)
    done = people.run("lineage", "find", path)
    assert "not looked" not in done.stderr and done.stdout.endswith(f"{sum(map(bool, expected.values()))} of {len(asked)} records found\n")


def test_find_through_views(people):
    for run in ("training", "reporting"):
        seen = {name: served(frame, run) for name, frame in people.frames.items()}
        asked = pd.concat([served(people.frames["t.csv"], run).sample(60, random_state=3), served(table(999, 900_000, 4), run)])
        expected = sources_of(asked, seen)
        assert len(expected[1]) >= len(FORMATS)
        for name in ("asked.csv", "asked.parquet"):
            path = people.tmp / name
            asked.to_csv(path, index=False) if name.endswith(".csv") else asked.to_parquet(path, index=False)
            assert found(people, path, "--run", run) == expected, (run, name)
    # Rows that the filter took away were not served.
    refused = people.frames["t.csv"][~people.frames["t.csv"].member].head(20)
    path = write(first_letters(refused), people.tmp / "refused.csv")
    assert not any(found(people, path, "--run", "training").values())


def test_damaged_packed_files_are_told_of(people):
    source = people.tmp / "broken"
    source.mkdir()
    whole = gzip.compress(table(5, 1, 50).to_csv(index=False).encode())
    (source / "cut.csv.gz").write_bytes(whole[:-30])
    (source / "no.csv.zst").write_bytes(b"id,customer\n1,2\n")
    (source / "no.parquet").write_bytes(b"PAR1 this is none PAR1")
    (source / "good.csv").write_text(table(6, 1, 5).to_csv(index=False))
    people.run("publish", "crm/people/2.0.0", source, "--with-failures", "broken on purpose")
    path = write(table(6, 1, 5), people.tmp / "asked.csv")
    done = people.run("lineage", "find", path, "--in", "crm/people/2.0.0")
    assert done.stdout.count("good.csv row") == 5
    assert [f"2.0.0/{f} was not looked at" in done.stderr for f in ("cut.csv.gz", "no.csv.zst", "no.parquet")] == [True] * 3
    told = people.json("lineage erasure-report", "crm/people/2.0.0", "--where", "customer == 17")
    assert {t["address"].rsplit("/", 1)[1] for t in told if t.get("status") == "gone"} == {"cut.csv.gz", "no.csv.zst", "no.parquet"}


def test_without_an_engine_it_is_said(people):
    people.env["MESHFS_DUCKDB"] = "/nonexistent/libduckdb.so"
    asked = people.frames["t.csv"].head(3)
    path = write(asked, people.tmp / "asked.csv")
    done = people.run("lineage", "find", path)
    assert "1 Parquet file was not looked into" in done.stderr
    frames = {n: f for n, f in people.frames.items() if n != "t.parquet"}
    assert found(people, path) == sources_of(asked, frames)
    done = people.run("lineage", "find", write(asked, people.tmp / "asked.parquet"), check=False)
    assert done.returncode == 1 and "engine" in done.stderr
    told = people.json("lineage trace", "crm/people/1.0.0/t.parquet", "--where", "customer == 17")
    assert {t["status"] for t in told} == {"gone"} and all("engine" in t["why"] for t in told)


def test_a_column_that_no_file_has(people):
    for file in (*FORMATS, "small"):
        address = f"crm/people/1.0.0/{file}"
        for verb in ("trace", "erasure-report"):
            done = people.run("lineage", verb, address, "--where", "custmer == 17", status=2)
            assert "no column custmer (did you mean 'customer'?)" in done.stderr and not done.stdout, (verb, file)
    (people.tmp / "other.csv").write_text("id,width\n1,2\n")
    (people.tmp / "more.csv").write_text("id,width\n1,3\n")
    people.run("publish", "crm/people/1.1.0", "--onto", "1.0.0", people.tmp / "other.csv", people.tmp / "more.csv", "--with-failures", "no columns in common")
    told = people.json("lineage erasure-report", "crm/people/1.1.0", "--where", "width == 2")
    assert [v["rows"] for v in told if v["kind"] == "version"] == [1]
    assert [t["status"] for t in told if "status" in t and "why" in t] == ["no column"]  # once a version, not once a file
    words = people.run("lineage", "erasure-report", "crm/people/1.1.0", "--where", "width == 2").stdout
    assert "not counted: crm/people/1.1.0/" in words and ", and other files of that version: it has no column width" in words
