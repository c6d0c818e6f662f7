"""The same rules give the same rows and values in CSV, JSON lines and Parquet: random tables of awkward values under random filters and masks.

MESHFS_FORMATS_CASES says how many tables (60 unless told), MESHFS_TEST_SEED which.
"""
import datetime
import decimal
import gzip
import io
import json
import os
import random

import pytest

from test_view_store import counted, forget
from test_views_limits import contract
from test_views_oracle import SEED, Tool, parse_strict, unquoted

CASES = int(os.environ.get("MESHFS_FORMATS_CASES", "60"))
UTC = datetime.timezone.utc
TYPES = {"id": "integer", "flag": "boolean", "num": "number", "int": "integer", "big": "integer", "text": "string", "day": "date", "at": "timestamp",
         "zoned": "timestamp", "dec": "number", "zip": "string"}
CONTRACT = "contract\n" + "".join(f"  - {{name: {n}, logicalType: {t}}}\n" for n, t in TYPES.items()) + "end\n"
VALUES = {
    "flag": [True, False],
    "num": [0.0, -0.0, 0.1, 0.30000000000000004, 1e20, 1e300, -1e-07, 18.0, 17.999999, 2.5, float("nan"), float("inf"), 123456789.12345679, 1e15, 1e16, 3e-310],
    "int": [0, 1, -1, 18, 2**31, 2**53, 2**53 + 1, 2**63 - 1, -2**63, 10**18, 10**18 - 1],
    "big": [0, 18, 2**53 + 1, 2**63 - 1, 2**63, 2**64 - 1],
    "text": ["", "a", "A", "null", "true", "18", " 18", "é", "a*", "NaN", "0", "2024-01-01", "mail ana@x.example now", '"', "a,b", "two\nlines", "\\"],
    "dec": [decimal.Decimal(t) for t in ("0.00", "-0.05", "18.00", "17.99", "2.50", "12345678901234567890.55", "99999999999999999999.99",
                                         "-123456789012345678901234567890123456.78")],
    "zip": ["03601", "12345", "12345-6789", "1234", ""],
}
LITERALS = {
    "flag": ["true", "false"], "num": ["0", "0.1", "18", "100000000000000000000", "0.3", "-0.0000001"],
    "int": ["0", "18", "9007199254740992", "9007199254740993", "9223372036854775807", "1000000000000000000"],
    "big": ["0", "18", "9223372036854775807", "9223372036854775808", "18446744073709551615"], "text": ['"a"', '""', '"18"', '"A"', '"true"'],
    "day": ["2024-01-15", "1970-01-01"], "at": ['"2024-01-02"', '"2024-01-01T23:59:30"', "2024-01-02"], "zoned": ['"2024-01-02"', '"2024-01-01T23:59:30Z"'],
    "dec": ["0", "18", "17.99", "12345678901234567890.55", "12345678901234567890"], "zip": ['"03601"', '"12345"'],
}
GENERALISE = ["round 5", "round 0.25", "round 0.1", "top 40", "top 17.5", "top 1000000000000000000000000000000"]
MASKS = ["drop", "null", "redact", "redact keep length", "hmac k1", "year", "month", "zip3", "partial first 2", "partial last 3", "scrub", *GENERALISE]


def value(rng, column):
    if rng.random() < 0.15:
        return None
    if column == "day":
        return datetime.date(rng.choice([1970, 2024, 1899]), rng.randint(1, 12), rng.randint(1, 28))
    if column in ("at", "zoned"):
        return datetime.datetime(2024, 1, rng.randint(1, 3), rng.choice([0, 23]), rng.choice([0, 59]), rng.choice([0, 30]), rng.choice([0, 500000, 123456]))
    return rng.choice(VALUES[column])


def condition(rng, depth=0):
    if depth < 2 and rng.random() < 0.3:
        kind = rng.choice(["and", "or", "not"])
        inner = condition(rng, depth + 1)
        return f"not ({inner})" if kind == "not" else f"({inner}) {kind} ({condition(rng, depth + 1)})"
    column, r = rng.choice(list(LITERALS)), rng.random()
    literal = lambda: rng.choice(LITERALS[column])
    if r < 0.12:
        return f"row.{column} is {rng.choice(['', 'not '])}null"
    if r < 0.2:
        return f"row.{column} {rng.choice(['in', 'not in'])} {{{literal()}, {literal()}}}"
    if column == "text" and r < 0.3:
        return f'row.text like "{rng.choice(["a*", "*8", "*", "t?ue"])}"'
    ops = ["==", "!="] if column == "flag" else ["==", "!=", "<", "<=", ">", ">="]
    return f"row.{column} {rng.choice(ops)} {literal()}"


# -- the same table in three formats ------------------------------------------------------------


def written(column, v):
    """The text of a value, as the engine writes it: a mask works on texts."""
    if v is None:
        return None
    if column == "flag":
        return "true" if v else "false"
    if column in ("at", "zoned"):
        text = v.strftime("%Y-%m-%d %H:%M:%S") + (f".{v.microsecond:06}".rstrip("0") if v.microsecond else "")
        return text + ("+00" if column == "zoned" else "")
    return repr(v) if column == "num" else str(v)


def as_csv(rows):
    def cell(text):
        if text is None:
            return ""
        return '"' + text.replace('"', '""') + '"' if text == "" or any(c in text for c in ',"\n') else text
    return "".join(",".join(line) + "\n" for line in [list(TYPES)] + [[cell(written(c, r[c])) for c in TYPES] for r in rows]).encode()


def as_jsonl(rows):
    def member(column, v):
        text = written(column, v)
        bare = v is None or column in ("id", "flag", "int", "big", "dec") or (column == "num" and text not in ("nan", "inf"))
        return "null" if v is None else text if bare else json.dumps(text)
    return "".join("{" + ", ".join(f'"{c}": {member(c, r[c])}' for c in TYPES) + "}\n" for r in rows).encode()


def as_parquet(rows, rng):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    kinds = {"id": pa.int64(), "flag": pa.bool_(), "num": pa.float64(), "int": pa.int64(), "big": pa.uint64(), "text": pa.string(), "day": pa.date32(),
             "at": pa.timestamp("us"), "zoned": pa.timestamp("us", "UTC"), "dec": pa.decimal128(38, 2), "zip": pa.string()}
    out = io.BytesIO()
    pq.write_table(pa.table({c: pa.array([r[c] for r in rows], kinds[c]) for c in TYPES}), out, row_group_size=rng.choice([3, 100]))
    return out.getvalue()


# -- what was read ------------------------------------------------------------------------------


def meaning(column, mask, v):
    """A value that any of the formats gave, so that equal ones compare equal."""
    kind = (mask or "keep").split()[0]
    if v is None or kind in ("redact", "hmac", "zip3", "partial", "scrub"):
        return v
    if column == "num":
        return repr(float(str(v)) + 0.0)
    if column in ("id", "int", "big", "dec") or kind in ("round", "top"):
        return decimal.Decimal(str(v))
    if column == "flag":
        return str(v).lower()
    if column in ("at", "zoned"):
        v = v if isinstance(v, datetime.datetime) else datetime.datetime.fromisoformat(v.replace("+00", "+00:00"))
        return v.replace(tzinfo=None)
    return str(v)


def read_csv(data):
    records = [record[0] for record, _ in parse_strict(data.decode(), ",")]
    return [dict(zip(records[0], map(unquoted, fields))) for fields in records[1:]] if records else []


def read_jsonl(data):
    return [json.loads(line, parse_float=decimal.Decimal) for line in data.decode().split("\n")[:-1]]


def read_parquet(data):
    return pytest.importorskip("pyarrow.parquet").read_table(io.BytesIO(data)).to_pylist()


READERS = {"csv": read_csv, "jsonl": read_jsonl, "parquet": read_parquet}


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    if not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("MESHFS_DUCKDB names no engine")
    t = Tool(tmp_path_factory.mktemp("formats"))
    yield t
    t.close()


def test_the_same_rules_give_the_same_rows_and_values_in_every_format(tool):
    for case in range(CASES):
        rng = random.Random(SEED * 100003 + case)
        rows = [{"id": i, **{c: value(rng, c) for c in TYPES if c != "id"}} for i in range(rng.choice([1, 12, 40]))]
        masks = {c: rng.choice(MASKS) for c in TYPES if c != "id" and rng.random() < 0.5}
        spec = CONTRACT + "".join(f"mask {c} {m}\n" for c, m in masks.items()) + (f"rows {condition(rng)}\n" if rng.random() < 0.8 else "")
        said, seen = spec[len(CONTRACT):], {}
        for kind, data in (("csv", as_csv(rows)), ("jsonl", as_jsonl(rows)), ("parquet", as_parquet(rows, rng))):
            got, why = tool(spec, f"t.{kind}", data)
            assert got is not None, f"case {case} {kind}: {why}\n{said}"
            seen[kind] = [{c: meaning(c, masks.get(c), v) for c, v in row.items()} for row in READERS[kind](got)]
        for kind in ("jsonl", "parquet"):
            ids = [[r["id"] for r in seen[k]] for k in ("csv", kind)]
            assert ids[0] == ids[1], f"case {case} {kind}\n{said}"
            for a, b, raw in zip(seen["csv"], seen[kind], (rows[int(i)] for i in ids[0])):
                if masks.get("int") == "round 5" and raw["int"] == -2**63:
                    a, b = ({k: v for k, v in x.items() if k != "int"} for x in (a, b))  # no 64-bit integer holds the multiple: null in Parquet
                differ = {c: (masks.get(c), raw[c], a.get(c), b.get(c)) for c in a | b if a.get(c) != b.get(c) or (c in a) != (c in b)}
                assert not differ, f"case {case} {kind}: column: (mask, raw, csv, {kind}) {differ}\n{said}"


# -- through a mount, at the bounds of each mask --------------------------------------------------

D = decimal.Decimal
BOUNDS = {  # column: (logicalType, mask, [(raw, seen)...])
    "born": ("date", "year", [("2024-12-31", "2024-01-01"), ("1678-01-02", "1678-01-01"), ("2261-12-31", "2261-01-01"), ("1677-12-31", None), (None, None),
                              ("2262-01-01", None), ("2024-02-29", "2024-01-01")]),
    "since": ("date", "month", [("2024-12-31", "2024-12-01"), ("1970-01-01", "1970-01-01"), ("1969-12-31", "1969-12-01"), (None, None), ("1600-05-05", None),
                                ("9999-12-31", None), ("2000-02-29", "2000-02-01")]),
    "zip": ("string", "zip3", [("90210", "902"), ("03601", "000"), ("90210-1234", "902"), ("902101234", "902"), ("9021", None), ("902100", None), (None, None)]),
    "age": ("integer", "top 89", [(89, 89), (90, 89), (-1, -1), (0, 0), (2**63 - 1, 89), (-2**63, -2**63), (None, None)]),
    "steps": ("integer", "round 10", [(4, 0), (5, 10), (-5, -10), (-4, 0), (14, 10), (2**53 + 1, 2**53 + 1 - (2**53 + 1) % 10), (None, None)]),
    "pay": ("number", "round 0.5", [(D("0.24"), 0), (D("0.25"), D("0.5")), (D("-0.25"), D("-0.5")), (D("-0.24"), 0), (D("12345678901234567890.55"),
                                    D("12345678901234567890.5")), (D("99999999999999999999.99"), D("100000000000000000000")), (None, None)]),
    "limit": ("number", "top 17.99", [(D("17.99"), D("17.99")), (D("18.00"), D("17.99")), (D("17.98"), D("17.98")), (D("-0.01"), D("-0.01")),
                                      (D("99999999999999999999.99"), D("17.99")), (D("0.00"), 0), (None, None)]),
    "code": ("string", "partial first 2", [("abc", "ab*"), ("ab", "**"), ("a", "*"), ("", ""), ("éàü", "éà*"), ("日本語x", "日本**"), (None, None)]),
    "card": ("string", "partial last 4", [("4111111111111111", "************1111"), ("1111", "****"), ("11111", "*1111"), ("", ""), ("ééééé", "*éééé"),
                                          ("abcd ", "*bcd "), (None, None)]),
}


def bounds_file(kind):
    rows = [{c: BOUNDS[c][2][i][0] for c in BOUNDS} for i in range(7)]
    if kind == "parquet":
        pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
        types = {"date": pa.date32(), "string": pa.string(), "integer": pa.int64(), "number": pa.decimal128(22, 2)}
        day = lambda c, v: datetime.date.fromisoformat(v) if v is not None and BOUNDS[c][0] == "date" else v
        out = io.BytesIO()
        pq.write_table(pa.table({c: pa.array([day(c, r[c]) for r in rows], types[BOUNDS[c][0]]) for c in BOUNDS}), out)
        return out.getvalue()
    if kind == "jsonl":
        line = lambda r: ", ".join(f'"{c}": {json.dumps(v) if v is None or isinstance(v, (str, int)) else v}' for c, v in r.items())
        return "".join("{" + line(r) + "}\n" for r in rows).encode()
    cell = lambda v: "" if v is None else '""' if v == "" else str(v)
    return "".join(",".join(line) + "\n" for line in [list(BOUNDS), *([cell(v) for v in r.values()] for r in rows)]).encode()


def test_masks_at_their_bounds_through_a_mount(mesh, fuse):
    mesh.domain("d")
    (mesh.folder / "c.yaml").write_text(
        "apiVersion: v3.1.0\nkind: DataContract\nid: t\nname: t\nversion: 1.0.0\nstatus: active\nschema:\n  - name: t\n    properties:\n"
        + "".join(f"      - {{ name: {c}, logicalType: {kind}, classification: public }}\n" for c, (kind, _, _) in BOUNDS.items()))
    kinds = ["csv", "jsonl"] + (["parquet"] if os.environ.get("MESHFS_DUCKDB") else [])
    mesh.publish("d/t/1.0.0", {f"t.{kind}": bounds_file(kind) for kind in kinds}, "--contract", mesh.folder / "c.yaml", "--with-failures", "as it is")
    (mesh.folder / "policy" / "p.policy").write_text("policy p scope mesh version 1\n" + "".join(
        f"\nmask m-{c}\n  columns named {c}\n  with {mask}\n" for c, (_, mask, _) in BOUNDS.items()))
    with mesh.mount() as m:
        for kind in kinds:
            rows = READERS[kind]((m.path / f"d/t/1.0.0/t.{kind}").read_bytes())
            for c, (logical, mask, cases) in BOUNDS.items():
                seen = [r[c] for r in rows]
                want = [s for _, s in cases]
                if logical in ("integer", "number"):
                    seen = [None if v is None else D(str(v)) for v in seen]
                elif logical == "date":
                    seen = [None if v is None else str(v) for v in seen]
                assert seen == want, (kind, c, mask)


@pytest.mark.parametrize("kind", ["csv.gz", "csv.zst", "jsonl.gz", "jsonl.zst"])
def test_packed_views_are_the_same_bytes_every_time(kind, tmp_path):
    """Sizes and hashes of views stand in the store, made on another host: only the rows decide on the bytes, not how the source was packed or cut."""
    zstandard = pytest.importorskip("zstandard")
    rng = random.Random(SEED)
    rows = [{"id": i, **{c: value(rng, c) for c in TYPES if c != "id"}} for i in range(1000)] * 10
    plain = as_csv(rows) if kind.startswith("csv") else as_jsonl(rows)
    pack = {level: gzip.compress(plain, level) if kind.endswith("gz") else zstandard.ZstdCompressor(level=level).compress(plain) for level in (1, 9)}
    cut = rng.randrange(len(plain))
    two = [gzip.compress(p) if kind.endswith("gz") else zstandard.ZstdCompressor().compress(p) for p in (plain[:cut], plain[cut:])]
    views = set()
    for i, (source, chunk) in enumerate([(pack[1], 1 << 20), (pack[1], 4096), (pack[9], 1 << 20), (b"".join(two), 1 << 16), (pack[1], 1 << 20)]):
        (tmp_path / str(i)).mkdir()
        tool = Tool(tmp_path / str(i))  # a process of its own
        got, why = tool(CONTRACT + "mask text drop\nmask num redact\nrows row.int >= 0\n", f"t.{kind}", source, chunk)
        assert got is not None, why
        views.add(got)
        tool.close()
    assert len(views) == 1 and len(views.pop()) > 1000


def test_the_bytes_of_a_dropped_column_are_not_fetched(mesh, fuse):
    pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
    rng, n = random.Random(SEED), 160000
    table = pa.table({"id": list(range(n)), "token": [rng.randbytes(20).hex() for _ in range(n)], "keep": [rng.random() for _ in range(n)]})
    out = io.BytesIO()
    pq.write_table(table, out, row_group_size=n // 4, use_dictionary=False)
    data = out.getvalue()
    meta = pq.ParquetFile(io.BytesIO(data)).metadata
    size = {c: sum(meta.row_group(g).column(i).total_compressed_size for g in range(4)) for i, c in enumerate(table.column_names)}
    mesh.domain("d")
    contract(mesh.folder / "c.yaml", {"id": "integer", "token": "string", "keep": "number"})
    mesh.publish("d/t/1.0.0", {"t.parquet": data}, "--contract", mesh.folder / "c.yaml", "--with-failures", "as it is")
    (mesh.folder / "policy" / "p.policy").write_text("policy p scope mesh version 1\n\ndrop e\n  columns named token\n  when purpose == training\n")
    fetched = {}
    for purpose in ("training", "care"):
        forget(mesh)
        with mesh.mount(purpose=purpose) as m:
            path = m.path / "d/t/1.0.0/t.parquet"
            seen = path.read_bytes()  # all of it, with the zeros that stand in for the column
            fetched[purpose] = counted(mesh, m.path)
            want = table if purpose == "care" else table.drop(["token"])
            assert pq.read_table(io.BytesIO(seen)).equals(want) and len(seen) == os.stat(path).st_size
    assert fetched["care"] > size["token"] and fetched["training"] < fetched["care"] - 0.9 * size["token"], (fetched, size)
