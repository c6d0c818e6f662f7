"""The checks of a contract over Parquet: the same judgements as over lines, by the same code; the engine only reads."""
import datetime
import decimal
import json
import os
import random

import pytest

from meshkit import CONTRACT_HEAD

pyarrow = pytest.importorskip("pyarrow")
parquet = pytest.importorskip("pyarrow.parquet")
pytestmark = pytest.mark.skipif(not os.environ.get("MESHFS_DUCKDB"), reason="MESHFS_DUCKDB names no engine")

HEAD = CONTRACT_HEAD + """- name: t
  physicalName: "*.{kind}"
  properties:
"""
COLUMNS = """  - {name: id, logicalType: integer, required: true, unique: true, classification: public}
  - {name: part, logicalType: string, primaryKey: true, primaryKeyPosition: 1, classification: public, logicalTypeOptions: {maxLength: 3}}
  - {name: number, logicalType: integer, primaryKey: true, primaryKeyPosition: 2, classification: public, logicalTypeOptions: {minimum: 0, maximum: 90, multipleOf: 2}}
  - {name: amount, logicalType: number, classification: public, logicalTypeOptions: {exclusiveMinimum: 0}}
  - {name: day, logicalType: date, classification: public, logicalTypeOptions: {minimum: 2020-06-01}}
  - {name: seen, logicalType: timestamp, classification: public}
  - {name: open, logicalType: boolean, classification: public}
  - {name: mail, logicalType: string, classification: restricted, tags: [pii], logicalTypeOptions: {format: email}}
  - name: code
    logicalType: string
    classification: public
    logicalTypeOptions: {pattern: "^[A-Z]{2}$"}
    quality:
    - {metric: missingValues, arguments: {missingValues: [NA]}, mustBeLessThan: 1, unit: percent}
    - {metric: invalidValues, arguments: {validValues: [AB, CD, ab]}, mustBe: 0}
  quality:
  - {metric: rowCount, mustBe: 1}
  - {metric: duplicateValues, arguments: {properties: [part, code]}, mustBe: 0}
"""


def rows(count, seed):
    r = random.Random(seed)
    start = datetime.date(2020, 1, 1)
    for i in range(count):
        yield {
            "id": None if r.random() < 0.01 else r.choice([i, i // 2]),
            "part": r.choice(["a", "bb", "ccc", "dddd", "ü", None]),
            "number": r.choice([None, r.randrange(-3, 100)]),
            "amount": r.choice([None, r.randrange(-50, 5000) / 4]),
            "day": None if r.random() < 0.1 else start + datetime.timedelta(days=r.randrange(400)),
            "seen": datetime.datetime(2024, 1, 1, tzinfo=datetime.timezone.utc) + datetime.timedelta(seconds=r.randrange(10**7)),
            "open": r.choice([True, False, None]),
            "mail": r.choice([f"u{i}@example.org", "nobody", None, "a@b@c.org"]),
            "code": r.choice(["AB", "CD", "ab", "NA", "ABC", None]),
        }


def as_csv(table):
    def text(v):
        if v is None:
            return ""
        if isinstance(v, bool):
            return "true" if v else "false"
        if isinstance(v, datetime.datetime):
            return v.strftime("%Y-%m-%dT%H:%M:%SZ")
        return str(v)
    return "".join(",".join(map(text, row)) + "\n" for row in [list(table[0])] + [list(r.values()) for r in table])


def quality(mesh, address):
    with mesh.mount() as m:
        return json.loads((m.path / address / ".mesh/quality.json").read_text())


def judged(report):
    """What must not depend on the format."""
    checks = {(c["check"], c["column"]): (c["measured"], c["passed"], [o.get("row") for o in c["offenders"]]) for c in report["checks"]}
    return report["rows"], checks, {c["column"]: {k: v for k, v in c.items() if k != "object"} for c in report["columns"]}


@pytest.mark.parametrize("seed", range(4))
def test_parquet_is_judged_as_lines_are(mesh, tmp_path, fuse, seed):
    table = list(rows(3000 + 2500 * seed, seed))
    mesh.domain("d")
    found = {}
    for kind in ("csv", "parquet"):
        folder = tmp_path / kind
        folder.mkdir()
        if kind == "csv":
            (folder / "t.csv").write_text(as_csv(table))
        else:
            parquet.write_table(pyarrow.Table.from_pylist(table), folder / "t.parquet", row_group_size=700 + 400 * seed)
        (tmp_path / "c.yaml").write_text(HEAD.format(kind=kind) + COLUMNS)
        mesh.run("publish", f"d/{kind}/1.0.0", folder, "--contract", tmp_path / "c.yaml", "--with-failures", "they are the point")
        found[kind] = judged(quality(mesh, f"d/{kind}/1.0.0"))
    lines, columnar = found["csv"], found["parquet"]
    assert columnar[0] == lines[0] == len(table)
    assert columnar[1] == lines[1]
    assert sum(1 for measured, passed, _ in lines[1].values() if not passed) >= 10  # else nothing was compared
    for name, look in lines[2].items():
        other = columnar[2][name]
        if name in ("amount", "day", "seen", "number"):  # estimates rest on how a value is written
            look.pop("distinct", None), other.pop("distinct", None)
        assert other == look, name


@pytest.fixture
def shop(mesh):
    mesh.domain("d")
    return mesh


def publish(mesh, tmp_path, table, columns, product="p", **more):
    folder = tmp_path / "in"
    folder.mkdir(exist_ok=True)
    parquet.write_table(pyarrow.table(table), folder / "t.parquet")
    args = ["publish", f"d/{product}/1.0.0", folder]
    if columns:
        (tmp_path / "c.yaml").write_text(HEAD.format(kind="parquet") + columns)
        args += ["--contract", tmp_path / "c.yaml"]
    return mesh.run(*args, **more).stderr


def test_personal_data_is_found_in_parquet(shop, tmp_path):
    people = {"id": [1, 2, 3], "contact": ["a@example.org", "b@example.org", None], "birthdate": [datetime.date(1980, 1, 2)] * 3,
              "card": [4111111111111111, 5500005555555559, 4012888888881881]}
    said = publish(shop, tmp_path, people, "  - {name: id, logicalType: integer, classification: internal}\n", status=3)
    assert "contact personal data" in said and "EMAIL_ADDRESS in 2 of 2 values" in said and "t.parquet row 1" in said
    assert "birthdate personal data" in said and "its name says DATE_TIME" in said
    assert "card personal data" in said and "CREDIT_CARD" in said
    assert "example.org" not in said and "4111" not in said  # offenders are named by place
    declared = "".join(f"  - {{name: {n}, tags: [pii], classification: restricted}}\n" for n in ("contact", "birthdate", "card"))
    publish(shop, tmp_path, people, "  - {name: id, logicalType: integer, classification: internal}\n" + declared, status=0)


def test_personal_data_in_parquet_without_a_contract_is_warned_of(shop, tmp_path):
    said = publish(shop, tmp_path, {"who": ["a@example.org"] * 5}, None, status=0)
    assert "warning" in said and "who personal data" in said


def test_columns_that_lack_or_are_not_declared(shop, tmp_path):
    said = publish(shop, tmp_path, {"id": [1], "extra": [2]}, "  - {name: id, logicalType: integer}\n  - {name: gone, logicalType: string}\n", status=3)
    assert "columns that a file lacks: 1" in said and "gone" in said
    assert "columns that are not declared: 1" in said and "extra" in said


def test_types_of_parquet(shop, tmp_path):
    table = {"a": ["1", "2"], "b": [1.5, 2.0], "c": [decimal.Decimal("1.50"), decimal.Decimal("2.00")], "d": pyarrow.array([1, 2], pyarrow.uint64()),
             "e": [datetime.time(1, 2), datetime.time(3, 4)], "f": [b"x", b"y"], "g": [[1], [2]], "h": [{"x": 1}, {"x": None}], "i": [True, False]}
    right = {"a": "string", "b": "number", "c": "number", "d": "integer", "e": "time", "g": "array", "h": "object", "i": "boolean"}
    publish(shop, tmp_path, table, "".join(f"  - {{name: {n}, logicalType: {t}}}\n" for n, t in right.items()), status=0)
    wrong = {"a": "boolean", "b": "integer", "c": "date", "d": "string", "e": "timestamp", "f": "string", "g": "object", "h": "array", "i": "number"}
    said = publish(shop, tmp_path, table, "".join(f"  - {{name: {n}, logicalType: {t}}}\n" for n, t in wrong.items()), "wrong", status=3)
    for name in wrong:
        assert f"error: t.{name} logicalType" in said, (name, said)
    assert "no integers: 1," in said  # 2.0 is one
    nested = "  - {name: h, logicalType: object, properties: [{name: x, logicalType: integer, required: true, logicalTypeOptions: {minimum: 2}}]}\n"
    said = publish(shop, tmp_path, table, nested, "nested", status=3)
    assert "t.h.x required: records without a value: 1" in said and "t.h.x range: values out of range: 1" in said


def same_of_all_formats(mesh, tmp_path, options, values, kind):
    """What is refused of one column in CSV, JSON lines and Parquet: the same, in the same words."""
    said = []
    for form in ("csv", "jsonl", "parquet"):
        source = tmp_path / f"t.{form}"
        if form == "parquet":
            parquet.write_table(pyarrow.table({"n": list(range(len(values))), "v": pyarrow.array(values, kind)}), source)
        else:
            texts = ["" if v is None else str(v) for v in values]
            plain = kind is not None and not pyarrow.types.is_temporal(kind)
            source.write_text("n,v\n" + "".join(f"{i},{t}\n" for i, t in enumerate(texts)) if form == "csv" else
                              "".join(json.dumps({"n": i, "v": t if not plain else "@"}).replace('"@"', t) + "\n" for i, t in enumerate(texts)))
        contract = tmp_path / "c.yaml"
        contract.write_text(HEAD.format(kind=form) + f"  - {{name: n, logicalType: integer, classification: public}}\n  - {{name: v, classification: public, {options}}}\n")
        r = mesh.run("publish", "d/same/1.0.0", source, "--contract", contract, "--dry-run", check=False)
        said.append(r.stderr.replace(f"t.{form}", "FILE"))
    assert said[0] == said[1] == said[2], said
    return said[0]


def test_values_mean_the_same_in_every_format(shop, tmp_path):
    day, moment = datetime.date, datetime.datetime
    far = [day(9999, 12, 31), day(1, 1, 1), day(2020, 1, 1)]
    assert same_of_all_formats(shop, tmp_path, "logicalType: date", far, pyarrow.date32()) == ""
    assert "out of range: 1," in same_of_all_formats(shop, tmp_path, "logicalType: date, logicalTypeOptions: {maximum: 2100-01-01}", far, pyarrow.date32())
    valid = "logicalType: date, quality: [{metric: invalidValues, arguments: {validValues: [2020-01-01]}, mustBe: 0}]"
    assert "valid ones: 2," in same_of_all_formats(shop, tmp_path, valid, far, pyarrow.date32())
    times = [moment(2020, 1, 1, 10, 30), moment(2020, 1, 1)]
    assert "no dates: " in same_of_all_formats(shop, tmp_path, "logicalType: date", times[:1], pyarrow.timestamp("us"))
    close = [moment(2020, 1, 1, 10, 30, 0, n) for n in (1, 2, 1)]
    assert "repetitions of a value: 1," in same_of_all_formats(shop, tmp_path, "logicalType: timestamp, unique: true", close, pyarrow.timestamp("us"))
    assert "repetitions of a value: 1," in same_of_all_formats(shop, tmp_path, "logicalType: timestamp, unique: true", close, pyarrow.timestamp("ns"))
    assert same_of_all_formats(shop, tmp_path, "logicalType: number, logicalTypeOptions: {minimum: 0.1, maximum: 0.7}", [0.1, 0.7], pyarrow.float32()) == ""
    assert "repetitions of a value: 1," in same_of_all_formats(shop, tmp_path, "logicalType: number, unique: true", [0.0, -0.0, 2.5], pyarrow.float64())
    few = "logicalType: number, quality: [{metric: invalidValues, arguments: {validValues: [1, 0.1]}, mustBe: 0}]"
    assert "valid ones: 1," in same_of_all_formats(shop, tmp_path, few, [1.0, 0.1, 0.2], pyarrow.float32())


def test_nanoseconds_tell_timestamps_apart(shop, tmp_path):
    table = pyarrow.table({"v": pyarrow.array([1577836800000000001, 1577836800000000002], pyarrow.timestamp("ns"))})
    publish(shop, tmp_path, table, "  - {name: v, logicalType: timestamp, unique: true, classification: public}\n", status=0)


def test_personal_data_in_maps_of_parquet(shop, tmp_path):
    table = pyarrow.table({"n": [1, 2], "m": pyarrow.array([[("work", "ana@example.org")], [("home", "bo@example.org")]], pyarrow.map_(pyarrow.string(), pyarrow.string()))})
    number = "  - {name: n, logicalType: integer, classification: public}\n"
    said = publish(shop, tmp_path, table, number, status=3)
    assert "t.m.value personal data" in said and "not declared: 1, there may be none (m)" in said, said
    said = publish(shop, tmp_path, table, number + "  - {name: m, logicalType: object, classification: internal}\n", status=3)
    assert "t.m.value personal data" in said and "undeclared" not in said, said
    # Who declares the map declares what is in it.
    publish(shop, tmp_path, table, number + "  - {name: m, logicalType: object, tags: [pii], classification: restricted}\n", status=0)


def test_what_lies_in_a_list_is_checked(shop, tmp_path):
    """Lists and structs meet the checks that they would meet as JSON."""
    items = ("  - {name: items, logicalType: array, logicalTypeOptions: {minItems: 1}, items: {logicalType: object, properties: "
             "[{name: sku, logicalType: string, required: true}, {name: n, logicalType: integer, logicalTypeOptions: {minimum: 2}}]}}\n"
             "  - {name: tags, logicalType: array, items: {logicalType: string, logicalTypeOptions: {maxLength: 2}}}\n"
             "  - {name: by, logicalType: object, physicalType: map}\n")
    table = {"items": [[{"sku": "a", "n": 1}, {"sku": "b", "n": 2}], [{"sku": None, "n": None}], []], "tags": [["ab"], None, ["a", "abc"]],
             "by": pyarrow.array([[("k", 1)], [], [("other", 2)]], pyarrow.map_(pyarrow.string(), pyarrow.int32()))}
    said = publish(shop, tmp_path, table, items, status=3)
    assert "t.items.sku required: records without a value: 2, there may be none; first: t.parquet row 2, t.parquet row 3" in said
    assert "t.items.n range: values out of range: 1, there may be none; first: t.parquet row 1" in said
    assert "t.items logicalTypeOptions: must be 0 arrays that do not keep to the options, is 1; first: t.parquet row 3" in said
    assert "t.tags items length: must be 0 arrays that have a wrong item, is 1; first: t.parquet row 3" in said
    assert said.count("error: ") == 4 and "undeclared" not in said


def test_personal_data_in_lists_of_parquet(shop, tmp_path):
    people = {"id": [1, 2], "who": [["a@example.org", "b@example.org"], ["c@example.org"]], "team": [[{"name": "x", "mail": f"p{i}@example.org"}] for i in (1, 2)]}
    said = publish(shop, tmp_path, people, "  - {name: id, logicalType: integer}\n  - {name: team, logicalType: array}\n", status=3)
    assert "who personal data" in said and "team.mail personal data" in said and "EMAIL_ADDRESS in 3 of 3" in said
    said = publish(shop, tmp_path, people, None, "bare", status=0)
    assert "who personal data" in said and "team.mail personal data" in said


def test_a_damaged_file_fails_every_check(shop, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    parquet.write_table(pyarrow.table({"id": list(range(100000))}), folder / "t.parquet", compression="snappy")
    data = bytearray((folder / "t.parquet").read_bytes())
    data[1000:3000] = bytes(2000)
    (folder / "t.parquet").write_bytes(data)
    (tmp_path / "c.yaml").write_text(HEAD.format(kind="parquet") + "  - {name: id, logicalType: integer}\n  quality: [{metric: rowCount, mustBe: 100000}]\n")
    said = shop.run("publish", "d/p/1.0.0", folder, "--contract", tmp_path / "c.yaml", status=3).stderr
    assert "error: t.id logicalType" in said and "error: t rowCount" in said and "damaged" in said
    (folder / "t.parquet").write_bytes(b"PAR1 not a file of that kind PAR1")
    said = shop.run("publish", "d/p/1.0.0", folder, "--contract", tmp_path / "c.yaml", status=3).stderr
    assert "error: t.id logicalType" in said and "t.parquet: the SQL engine (DuckDB) cannot read it" in said


def test_a_draft_is_checked_too(shop, tmp_path, fuse):
    contract = HEAD.format(kind="parquet") + "  - {name: id, logicalType: integer, required: true, unique: true}\n"
    with shop.mount() as m:
        (m.path / "d/p").mkdir()
        draft = m.path / "d/p/1.0.0.draft"
        draft.mkdir()
        (draft / ".mesh").mkdir(exist_ok=True)
        (draft / ".mesh/contract.yaml").write_text(contract)
        parquet.write_table(pyarrow.table({"id": [1, None, 1], "who": ["a@example.org"] * 3}), draft / "t.parquet")
        with pytest.raises(PermissionError):
            draft.rename(m.path / "d/p/1.0.0")
        said = (draft / ".mesh/problems.txt").read_text()
        assert "t.id required" in said and "t.id unique" in said and "t.parquet row 2" in said
        assert "who personal data" in said and "example.org" not in said
        parquet.write_table(pyarrow.table({"id": [1, 2, 3]}), draft / "t.parquet")
        try:
            draft.rename(m.path / "d/p/1.0.0")
        except PermissionError:
            raise AssertionError((draft / ".mesh/problems.txt").read_text())
        assert json.loads((m.path / "d/p/1.0.0/.mesh/quality.json").read_text())["failed_errors"] == 0


def test_a_name_is_no_pattern(shop, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    parquet.write_table(pyarrow.table({"id": [1, 1]}), folder / "a1.parquet")
    parquet.write_table(pyarrow.table({"id": [2, 3]}), folder / "a*.parquet")
    parquet.write_table(pyarrow.table({"id": [4, 5]}), folder / "a[1].parquet")
    (tmp_path / "c.yaml").write_text(HEAD.format(kind="parquet") + "  - {name: id, logicalType: integer, unique: true}\n  quality: [{metric: rowCount, mustBe: 6}]\n")
    said = shop.run("publish", "d/p/1.0.0", folder, "--contract", tmp_path / "c.yaml", status=3).stderr
    assert "repetitions of a value: 1," in said and "a1.parquet row 2" in said and "rowCount" not in said
