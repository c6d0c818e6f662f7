"""What Parquet files come in: bloom filters, page indexes, encryption, INT96, codecs, nested columns, metadata.  Each is handled, or denied with a reason;
no token of a column that is dropped or masked is in what is served, wherever the writer put it."""
import datetime
import decimal
import os
import struct

import pytest

from test_views_oracle import Tool, read_everywhere

pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")
ENGINE = bool(os.environ.get("MESHFS_DUCKDB"))
CONTRACT = """contract
  - {name: id, logicalType: integer}
  - {name: keep, logicalType: string}
  - {name: secret, logicalType: string}
  - {name: code, logicalType: string}
  - {name: seen, logicalType: timestamp}
  - {name: person, logicalType: object, properties: [{name: name, logicalType: string}, {name: town, logicalType: string}]}
  - name: visits
    logicalType: array
    items: {logicalType: object, properties: [{name: place, logicalType: string}, {name: count, logicalType: integer}]}
  - {name: marks, logicalType: object, properties: [{name: key, logicalType: string}, {name: value, logicalType: string}]}
end
"""


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    t = Tool(tmp_path_factory.mktemp("views"))
    yield t
    t.close()


def rows(n=600, nested=True):
    tags = {b"note": b"zqxfieldmetadata"}
    columns = {
        "id": pa.array(range(n), pa.int64()), "keep": pa.array(["yes" if i % 2 else "no" for i in range(n)]),
        "secret": pa.array([f"zqxsecret{i:05}" for i in range(n)]), "code": pa.array([f"zqxcode{i % 40:03}" for i in range(n)]),
        "seen": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in range(n)], pa.timestamp("us")),
    }
    if nested:
        columns["person"] = pa.array([None if i % 9 == 0 else {"name": f"zqxname{i:05}", "town": f"town{i % 5}"} for i in range(n)])
        columns["visits"] = pa.array([[{"place": f"zqxplace{i:05}", "count": k} for k in range(i % 3)] for i in range(n)])
    fields = [pa.field(k, v.type, metadata=tags if k == "secret" else None) for k, v in columns.items()]
    return pa.Table.from_arrays(list(columns.values()), schema=pa.schema(fields, metadata={b"about": b"zqxfilemetadata"}))


def apply(tool, tmp_path, rules, data):
    """The rows as every reader sees them, and the bytes; or None and why not."""
    got, why = tool(CONTRACT + rules, "t.parquet", data)
    if got is None:
        return None, why[1]
    (tmp_path / "view.parquet").write_bytes(got)
    return read_everywhere(tmp_path / "view.parquet"), got


def written(tmp_path, table, **how):
    how = {"compression": "none", "row_group_size": 200, **how}
    pq.write_table(table, tmp_path / "t.parquet", **how)
    return (tmp_path / "t.parquet").read_bytes()


DROPS = "mask secret drop\nmask code null\nmask person.name drop\nmask visits.place drop\n"
KINDS = {
    "dictionaries": {}, "plain": {"use_dictionary": False}, "page index": {"write_page_index": True}, "pages of version 2": {"data_page_version": "2.0"},
    "version 1": {"version": "1.0"}, "version 2.4": {"version": "2.4"}, "INT96": {"use_deprecated_int96_timestamps": True},
    "no statistics": {"write_statistics": False}, "checksums": {"write_page_checksum": True}, "small pages": {"data_page_size": 512, "write_page_index": True},
    "delta": {"use_dictionary": False, "column_encoding": {"id": "DELTA_BINARY_PACKED", "secret": "DELTA_BYTE_ARRAY", "code": "DELTA_LENGTH_BYTE_ARRAY"}},
    "split": {"use_dictionary": False, "column_encoding": {"id": "BYTE_STREAM_SPLIT"}},
    "sorted": {"sorting_columns": [pq.SortingColumn(0)]},
    **{f"codec {c}": {"compression": c} for c in ("snappy", "gzip", "brotli", "zstd", "lz4")},
}


@pytest.mark.parametrize("kind", KINDS)
def test_no_token_is_left_in_what_is_served(tool, tmp_path, kind):
    table = rows()
    data = written(tmp_path, table, **KINDS[kind])
    got, view = apply(tool, tmp_path, DROPS, data)
    assert got is not None, view
    assert b"zqx" not in view and b"ARROW:schema" not in view
    want = table.drop(["secret"]).to_pylist()
    for row in want:
        row["code"] = None
        if row["person"]:
            del row["person"]["name"]
        row["visits"] = [{"count": v["count"]} for v in row["visits"]]
    assert got == want
    # What is compressed is not seen by looking for tokens: of the source only what kept columns have is there, all else is zeros.
    whole = pq.ParquetFile(tmp_path / "t.parquet").metadata
    for g in range(whole.num_row_groups):
        for c in range(whole.num_columns):
            column = whole.row_group(g).column(c)
            start = min(o for o in (column.data_page_offset, column.dictionary_page_offset) if o)
            part = view[start:start + column.total_compressed_size]
            gone = column.path_in_schema in ("secret", "code", "person.name") or column.path_in_schema.endswith("place")
            assert part == (bytes(len(part)) if gone else data[start:start + len(part)]), column.path_in_schema


@pytest.mark.parametrize("kind", ["dictionaries", "plain", "page index", "pages of version 2", "codec zstd"])
@pytest.mark.parametrize("rules", [DROPS] + (["mask secret redact\n", "rows row.keep == \"yes\"\n", "rows row.id > 3\nmask secret drop\nmask code hmac k1\n"] if ENGINE else []))
def test_a_file_without_rows_is_served(tool, tmp_path, kind, rules):
    """An empty day is a file too: writers leave out its pages, and say 0 for where they are."""
    table = rows(nested=rules == DROPS).slice(0, 0)
    data = written(tmp_path, table, **KINDS[kind])
    got, view = apply(tool, tmp_path, rules, data)
    assert got == [], view
    names = pq.read_table(tmp_path / "view.parquet").column_names
    assert names == [n for n in table.column_names if n != "secret" or "secret drop" not in rules]


def test_bloom_filters_go_with_their_columns(tool, tmp_path):
    """A bloom filter answers whether a value occurs: one of a dropped column would tell."""
    duckdb = pytest.importorskip("duckdb")
    people = rows(nested=False)
    assert people.num_rows
    duckdb.sql("SELECT id % 50 AS id, keep, code, 'zqxsecret' || (id % 60) AS secret FROM people").write_parquet(
        str(tmp_path / "t.parquet"), row_group_size=2048, compression="uncompressed")
    data = (tmp_path / "t.parquet").read_bytes()
    blooms = {n: (o, k) for n, o, k in duckdb.sql(
        f"SELECT path_in_schema, bloom_filter_offset, bloom_filter_length FROM parquet_metadata('{tmp_path}/t.parquet')").fetchall()}
    assert all(o and k for o, k in blooms.values()), blooms
    got, view = apply(tool, tmp_path, "mask secret drop\nmask code null\n", data)
    assert [set(r) for r in got] == [{"id", "keep", "code"}] * len(got) and b"zqx" not in view
    for name in ("secret", "code"):
        offset, length = blooms[name]
        assert any(data[offset:offset + length]) and not any(view[offset:offset + length])
    for name in ("id", "keep"):
        offset, length = blooms[name]
        assert view[offset:offset + length] == data[offset:offset + length]
    left = duckdb.sql(f"SELECT path_in_schema, bloom_filter_offset FROM parquet_metadata('{tmp_path}/view.parquet')").fetchall()
    assert dict(left)["code"] is None and dict(left)["id"] == blooms["id"][0]
    # What stays is still of use.
    probe = duckdb.sql(f"SELECT count(*) FROM parquet_bloom_probe('{tmp_path}/view.parquet', 'keep', 'never') WHERE bloom_filter_excludes").fetchall()[0]
    assert probe[0] >= 1


def test_encrypted_files_are_denied(tool, tmp_path):
    pe = pytest.importorskip("pyarrow.parquet.encryption")

    class Kms(pe.KmsClient):
        def __init__(self, config):
            super().__init__()

        def wrap_key(self, key, master):
            return key.hex()

        def unwrap_key(self, wrapped, master):
            return bytes.fromhex(wrapped)

    table = rows(nested=False)
    for plain, uniform in ((False, True), (True, False), (False, False)):
        # With a plain footer only some columns are encrypted, and readers without keys may read the others.
        how = pe.EncryptionConfiguration(footer_key="f", plaintext_footer=plain, uniform_encryption=uniform, encryption_algorithm="AES_GCM_V1",
                                         **({} if uniform else {"column_keys": {"c": ["secret"]}}))
        properties = pe.CryptoFactory(lambda c: Kms(c)).file_encryption_properties(pe.KmsConnectionConfig(), how)
        pq.write_table(table, tmp_path / "t.parquet", encryption_properties=properties)
        got, why = apply(tool, tmp_path, "mask code drop\n", (tmp_path / "t.parquet").read_bytes())
        assert got is None and "encrypted" in why


def test_what_a_mask_or_a_filter_meets_in_nested_columns(tool, tmp_path):
    table = rows()
    data = written(tmp_path, table)
    # A part of a nested column is not masked: that would need lists and structs taken apart.  Dropping it, or the whole, is no trouble.
    for rules, reason in (("mask person.name hmac k1\n", "a part of the nested column person"),
                          ("mask visits.place redact\n", "a part of the nested column visits"),
                          ("mask person hmac k1\n", "holds others"),
                          ('mask person.name drop\nrows row.keep == "yes"\n', "a part of the nested column person"),
                          ('rows row.person.town == "town1"\n', "not at the top level")):
        got, why = apply(tool, tmp_path, rules, data)
        assert got is None and (reason in why if ENGINE else "no engine" in why), (rules, why)
    if not ENGINE:
        return
    got, view = apply(tool, tmp_path, "mask person null\nmask visits drop\nmask secret drop\nmask code drop\n", data)
    assert got is not None, view
    assert b"zqx" not in view and all(r["person"] is None for r in got)


def test_members_where_the_contract_has_one_value_have_no_name_in_it(tool, tmp_path):
    table = pa.table({"id": [1, 2], "code": pa.array([{"ssn": "zqxa", "deep": [{"x": "zqxb"}]}] * 2), "keep": pa.array([["yes", "no"]] * 2)})
    data = written(tmp_path, table)
    got, view = apply(tool, tmp_path, "mask secret drop\n", data)
    assert got[0]["code"]["ssn"] == "zqxa"  # no rule for what has no name
    got, view = apply(tool, tmp_path, "mask secret drop\nunnamed drop\n", data)
    assert got == [{"id": 1, "keep": ["yes", "no"]}, {"id": 2, "keep": ["yes", "no"]}] and b"zqx" not in view
    got, why = apply(tool, tmp_path, "unnamed redact\n", data)
    assert got is None and ("a part of the nested column code" if ENGINE else "no engine") in why


def test_a_map_goes_as_a_whole(tool, tmp_path):
    table = pa.table({"id": [1, 2], "marks": pa.array([[("zqxkey", "zqxvalue")], []], pa.map_(pa.string(), pa.string()))})
    data = written(tmp_path, table)
    for rules in ("mask marks drop\n", "mask marks.value drop\n", "mask marks.key drop\nunnamed drop\n"):
        got, view = apply(tool, tmp_path, rules, data)
        assert got == [{"id": 1}, {"id": 2}] and b"zqx" not in view, rules


@pytest.mark.skipif(not ENGINE, reason="MESHFS_DUCKDB names no engine")
@pytest.mark.parametrize("kind", ["dictionaries", "page index", "INT96", "pages of version 2", "delta", "codec brotli", "codec lz4"])
def test_rows_and_values_through_the_engine(tool, tmp_path, kind):
    table = rows(nested=False)
    got, view = apply(tool, tmp_path, 'rows row.keep == "yes"\nmask secret drop\nmask code hmac k1\nmask seen month\n', written(tmp_path, table, **KINDS[kind]))
    assert got is not None, view
    assert b"zqx" not in view and [r["id"] for r in got] == list(range(1, 600, 2))
    assert {r["seen"] for r in got} == {datetime.datetime(2024, 1, 1)} and all(len(r["code"]) == 32 for r in got)


@pytest.mark.skipif(not ENGINE, reason="MESHFS_DUCKDB names no engine")
def test_the_engine_gives_the_same_bytes_in_every_time_zone(tmp_path):
    table = pa.table({"id": [1, 2], "seen": pa.array([0, 1704067199000000], pa.timestamp("us", "UTC")), "keep": ["yes", "yes"]})
    data = written(tmp_path, table)
    views = []
    before = {k: os.environ.get(k) for k in ("TZ", "LC_ALL")}
    try:
        for zone in ("UTC", "America/New_York", "Asia/Tokyo"):
            os.environ["TZ"] = zone
            (tmp_path / zone.replace("/", "-")).mkdir()
            tool = Tool(tmp_path / zone.replace("/", "-"))
            views.append([apply(tool, tmp_path, rules, data) for rules in ('mask seen year\n', 'mask seen hmac k1\n', 'rows row.seen >= "2024-01-01"\n')])
            tool.close()
    finally:
        for k, v in before.items():
            os.environ.pop(k, None)
            if v is not None:
                os.environ[k] = v
    assert views[0] == views[1] == views[2] and views[0][0][0] is not None
    assert [r["seen"] for r in views[0][0][0]] == [datetime.datetime(y, 1, 1, tzinfo=datetime.timezone.utc) for y in (1970, 2023)] and views[0][2][0] == []


def test_a_chunk_that_reaches_into_another_is_denied(tool, tmp_path):
    """A footer may say that a column that stays begins where one that goes lies: its bytes would be served."""
    table = pa.table({"id": pa.array(range(5), pa.int64()), "secret": [f"zqx{i}" for i in range(5)], "keep": ["a"] * 5})
    data = written(tmp_path, table, use_dictionary=False, write_statistics=False)
    parts = {c.path_in_schema: c for c in (pq.ParquetFile(tmp_path / "t.parquet").metadata.row_group(0).column(i) for i in range(3))}
    secret, keep = parts["secret"], parts["keep"]
    footer = len(data) - 8 - struct.unpack("<I", data[-8:-4])[0]

    def zigzag(n):
        out, n = b"", n << 1
        while n > 127:
            out, n = out + bytes([n & 127 | 128]), n >> 7
        return out + bytes([n])
    moved = data[footer:].replace(zigzag(keep.data_page_offset), zigzag(secret.data_page_offset))
    assert moved != data[footer:] and len(moved) == len(data) - footer
    got, why = apply(tool, tmp_path, "mask secret drop\n", data[:footer] + moved)
    assert got is None and "overlap" in why


@pytest.mark.skipif(not ENGINE, reason="MESHFS_DUCKDB names no engine")
def test_types_meet_masks(tool, tmp_path):
    big = 12345678901234567890
    table = pa.table({"id": pa.array([1, -5, None, 2**62], pa.int64()), "keep": ["a"] * 4, "wide": pa.array([big, 0, None, 7], pa.uint64()),
                      "money": pa.array([decimal.Decimal("12345678901234567890.55"), decimal.Decimal("-0.05"), None, decimal.Decimal(41)], pa.decimal128(38, 2)),
                      "flag": [True, False, None, True], "real": [float("nan"), -0.0, None, 1e300]})
    contract = ("contract\n  - {name: id, logicalType: integer}\n  - {name: keep, logicalType: string}\n  - {name: wide, logicalType: integer}\n"
                "  - {name: money, logicalType: number}\n  - {name: flag, logicalType: boolean}\n  - {name: real, logicalType: number}\nend\n")
    data = written(tmp_path, table)
    got, why = tool(contract + "mask money round 5\nmask wide top 40\nmask id round 10\nmask real top 40\nmask flag redact\n", "t.parquet", data)
    assert got is not None, why
    (tmp_path / "view.parquet").write_bytes(got)
    seen = read_everywhere(tmp_path / "view.parquet")
    assert [r["wide"] for r in seen] == [40, 0, None, 7] and [r["id"] for r in seen] == [0, -10, None, 2**62 - 4]
    assert [r["flag"] for r in seen] == ["REDACTED", "REDACTED", None, "REDACTED"] and [r["real"] for r in seen][2] is None
    assert [r["money"] for r in seen] == [decimal.Decimal("12345678901234567890"), 0, None, 40]


@pytest.mark.parametrize("literal", ["9223372036854775807", "12345678901234567890.5", "0.5", "-1e30", "1e30"])
def test_statistics_meet_numbers_that_no_integer_holds(tool, tmp_path, literal):
    """Row groups are left out by comparing their statistics with what the rule says, however long that is."""
    data = written(tmp_path, pa.table({"id": pa.array([1, 2, 3], pa.int64()), "keep": ["a"] * 3}))
    for op, shown in (("<", [i for i in (1, 2, 3) if i < float(literal)]), (">=", [i for i in (1, 2, 3) if i >= float(literal)]), ("==", [])):
        got, why = apply(tool, tmp_path, f"rows row.id {op} {literal}\n", data)
        assert got is not None and [r["id"] for r in got] == shown, (op, why)


@pytest.mark.skipif(not ENGINE, reason="MESHFS_DUCKDB names no engine")
def test_bytes_that_no_annotation_calls_a_text(tool, tmp_path):
    """Old writers annotate nothing. What is not plain is unknown, so that no comparison with it shows a row."""
    data = written(tmp_path, pa.table({"id": [1, 2, 3, 4], "keep": pa.array([b"yes", "é".encode(), b"a\\b", None], pa.binary())}), store_schema=False)
    for rule, shown in (('row.keep == "yes"', [1]), ('row.keep != "é"', [1]), ('row.keep != "no"', [1]), ('row.keep is null', [4])):
        got, why = apply(tool, tmp_path, f"rows {rule}\n", data)
        assert got is not None and [r["id"] for r in got] == shown, (rule, got, why)
