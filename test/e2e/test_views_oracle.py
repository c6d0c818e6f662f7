"""Views against an independent reading of the same data: thousands of random tables, policies and spellings.

The C side is build/bench/view_tool, which applies one view to one file.  What it gives is compared byte by byte with what a
slow and simple reading in Python expects, and read by the tools that people use.
"""
import decimal
import gzip
import hashlib
import hmac
import io
import json
import os
import pathlib
import random
import re
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SEED = int(os.environ.get("MESHFS_TEST_SEED", "1"))
CASES = int(os.environ.get("MESHFS_ORACLE_CASES", "300"))


class Tool:
    """One process that applies many views."""

    def __init__(self, folder):
        program = os.environ.get("MESHFS_VIEW_TOOL") or ROOT / "build/bench/view_tool"
        if not pathlib.Path(program).exists():
            subprocess.run(["make", "-s", "-C", str(ROOT), "build/bench/view_tool"], check=True)
        self.folder = folder
        self.process = subprocess.Popen([str(program), "-"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __call__(self, spec, path, data, chunk=1 << 20):
        names = [self.folder / n for n in ("case", "in", "out")]
        names[0].write_text(spec)
        names[1].write_bytes(data)
        self.process.stdin.write(f"{names[0]} {path} {chunk} {names[1]} {names[2]}\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline().split(None, 1)
        if answer[0] == "ok":
            return names[2].read_bytes(), [int(n) for n in answer[1].split()]
        return None, (answer[0], answer[1].strip())

    def close(self):
        self.process.stdin.close()
        assert self.process.wait(10) == 0


@pytest.fixture(scope="module")
def tool(tmp_path_factory):
    t = Tool(tmp_path_factory.mktemp("views"))
    yield t
    t.close()


# -- masks, written down a second time ----------------------------------------------------------

SMALL_AREAS = "036 059 063 102 203 556 692 790 821 823 830 831 878 879 884 890 893".split()
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
DATE = re.compile(r"(\d{4})-(\d\d)-(\d\d)(?:[Tt ](\d\d):(\d\d)(?::(\d\d)(?:[.,]\d+)?)?(?:[Zz]|[+-]\d\d:?\d\d|[+-]\d\d)?)?")


def days(year, month):
    leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    return [31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31][month - 1]


def as_number(text):
    text = text.strip(" \t")
    return decimal.Decimal(text) if NUMBER.fullmatch(text) else None


def plain(number):
    text = format(number, "f")
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text in ("-0", "") else text


def masked(mask, text):
    """The text under the mask, or None for null."""
    kind, *rest = mask.split()
    if kind == "null":
        return None
    if kind == "redact":
        return "*" * len(text) if rest else "REDACTED"
    if kind == "hmac":
        return hmac.new(hashlib.sha256(rest[0].encode()).digest(), text.encode(), hashlib.sha256).hexdigest()[:32]
    if kind in ("year", "month"):
        text = text.strip(" \t")
        m = DATE.fullmatch(text)
        if not m or not 1678 <= int(m[1]) <= 2261 or not 1 <= int(m[2]) <= 12 or not 1 <= int(m[3]) <= days(int(m[1]), int(m[2])):
            return None
        if m[4] and (int(m[4]) > 23 or int(m[5]) > 59 or int(m[6] or 0) > 60):
            return None
        zone = re.search(r"[+-]\d\d:?\d?\d?$", text[10:])
        time = text[10:len(text) - len(zone[0])] if zone else text[10:]
        return text[:5] + (text[5:7] if kind == "month" else "01") + "-01" + re.sub(r"\d", "0", time) + (zone[0] if zone else "")
    if kind == "zip3":
        text = text.strip(" \t")
        if not re.fullmatch(r"\d{5}(-?\d{4})?", text):
            return None
        return "000" if text[:3] in SMALL_AREAS else text[:3]
    if kind == "round":
        number, step = as_number(text), decimal.Decimal(rest[0])
        if number is None:
            return None
        return plain(((abs(number) / step).to_integral_value(decimal.ROUND_HALF_UP) * step).copy_sign(number if number else 1) + 0)
    if kind == "top":
        number = as_number(text)
        return None if number is None else rest[0] if number > decimal.Decimal(rest[0]) else text.strip(" \t")
    if kind == "partial":
        n = int(rest[1])
        if len(text) <= n:
            return "*" * len(text)
        return "*" * (len(text) - n) + text[-n:] if rest[0] == "last" else text[:n] + "*" * (len(text) - n)
    raise AssertionError(mask)


MASKS = ["null", "redact", "redact keep length", "hmac k1", "hmac k2", "year", "month", "zip3", "round 5", "round 0.25", "top 40",
         "partial first 2", "partial last 3"]

# -- rows ---------------------------------------------------------------------------------------

COLUMNS = [("id", "integer"), ("email", "string"), ("name", "string"), ("age", "number"), ("zip", "string"), ("born", "date"), ("note", "string")]
FILTERS = {
    None: lambda row: True,
    'row.zip == "03601" or row.age >= 18': lambda row: either(equal(row["zip"], "03601"), at_least(row["age"], 18)),
    "row.age >= 18": lambda row: at_least(row["age"], 18),
    "row.note is null": lambda row: row["note"] is None,
    'row.name like "A*"': lambda row: None if row["name"] is None else row["name"].startswith("A"),
    'not (row.email == "x")': lambda row: None if row["email"] is None else row["email"] != "x",
}


def equal(a, b):
    return None if a is None else a == b


def at_least(text, limit):
    number = as_number(text) if text is not None else None
    return None if number is None else number >= limit


def either(a, b):
    return True if a or b else None if a is None or b is None else False


def spec_of(rng, unnamed="keep", drops=True):
    actions = {}
    for name, _ in COLUMNS:
        if rng.random() < 0.45:
            actions[name] = rng.choice((["drop"] * 4 if drops else []) + MASKS)
    rows = rng.choice(list(FILTERS))
    text = "contract\n" + "".join(f"  - {{name: {n}, logicalType: {t}}}\n" for n, t in COLUMNS) + "end\n"
    text += f"unnamed {unnamed}\n" + "".join(f"mask {c} {m}\n" for c, m in actions.items())
    return text + (f"rows {rows}\n" if rows else ""), actions, FILTERS[rows]


WORDS = ["", "", "x", "Anna", "Ämilie", "O'Neil", "日本", "a,b", "a;b", 'say "hi"', "two\nlines", "cr\r\nlf", " padded ", "17", "18", "18.0", "39.125", "-7.5",
         "1e2", "40.1", "2024-05-17", "2024-02-30", "1999-12-31T23:59:59.5+02:00", "2024-05-17 10:11:12Z", "03601", "12345", "12345-6789", "null", "true",
         "\U0001f600", "tab\there", "'", "a\\b", "&é"]

# -- separated text -----------------------------------------------------------------------------


def parse_strict(text, separator):
    """(raw fields, line end) of each record, or None for one that is broken; a broken record ends as lenient readers end it."""
    at = 0
    while at < len(text):
        start, fields, broken = at, [], False
        while True:
            field = at
            if text[at:at + 1] == '"':
                at += 1
                while True:
                    end = text.find('"', at)
                    if end < 0:
                        at, broken = len(text), True
                        break
                    at = end + 1
                    if text[at:at + 1] != '"':
                        break
                    at += 1
                if at < len(text) and text[at] not in (separator, "\n") and text[at:at + 2] != "\r\n":
                    broken = True
            while at < len(text) and text[at] not in (separator, "\n"):
                broken |= text[at] == '"' or (text[at] == "\r" and text[at:at + 2] != "\r\n")
                at += 1
            crlf = text[at:at + 1] == "\n" and at > field and text[at - 1] == "\r"
            fields.append(text[field:at - crlf])
            if at == len(text) or text[at] == "\n":
                break
            at += 1
        end = text[at - crlf:at + 1]
        at += 1
        yield None if broken else (fields, end), start


def unquoted(raw):
    if raw == "":
        return None
    return raw[1:-1].replace('""', '"') if raw[0] == '"' else raw


def csv_value(mask, raw, separator):
    value = unquoted(raw)
    out = None if value is None else masked(mask, value)
    if out is None:
        return ""
    if raw[0] == '"' or out == "" or any(c in out for c in (separator, '"', "\n", "\r")):
        return '"' + out.replace('"', '""') + '"'
    return out


def expected_csv(text, separator, actions, shown, unnamed):
    out, stats, columns = [], [0, 0, 0], None
    bom = text.startswith("\ufeff")
    if bom:
        out.append("\ufeff")
        text = text[1:]
    for record, _ in parse_strict(text, separator):
        if columns is None:
            columns = [unquoted(f) or "" for f in record[0]]
            named = dict(COLUMNS)
            masks = [actions.get(c) if c in named else (None if unnamed == "keep" else unnamed) for c in columns]
            kept = [i for i, m in enumerate(masks) if m != "drop"]
            out.append(separator.join(record[0][i] for i in kept) + record[1])
            continue
        stats[0] += 1
        if record is None or len(record[0]) != len(columns):
            stats[2] += 1
            continue
        fields, end = record
        if shown({c: unquoted(f) for c, f in zip(columns, fields)}) is not True:
            continue
        stats[1] += 1
        line = separator.join(fields[i] if masks[i] is None else csv_value(masks[i], fields[i], separator) for i in kept)
        if line == "" and len(kept) == 1 and not (len(columns) == 1 and masks[0] is None):
            line = '""'
        out.append(line + end)
    return ("".join(out) if kept else "").encode(), stats


def random_csv(rng, separator, nasty):
    columns = [c for c, _ in COLUMNS]
    if rng.random() < 0.3:
        columns.insert(rng.randrange(len(columns) + 1), "extra")
    end = rng.choice(["\n", "\r\n"])

    def quote(text, force=False):
        if force or any(c in text for c in (separator, '"', "\n", "\r")):
            return '"' + text.replace('"', '""') + '"'
        return text

    lines = [separator.join(quote(c, rng.random() < 0.2) for c in columns)]
    for _ in range(rng.randrange(40)):
        fields = [quote(rng.choice(WORDS), rng.random() < 0.15) for _ in columns]
        if nasty and rng.random() < 0.2:
            i = rng.randrange(len(fields))
            what = rng.randrange(7)
            if what == 0:
                fields.pop()
            elif what == 1:
                fields.append("more")
            elif what == 2:
                fields[i] = 'a"b'
            elif what == 3:
                fields[i] = '"closed"open'
            elif what == 4:
                fields[i] = '"never closed'
            elif what == 5:
                fields[i] = "lone\rreturn"
            else:
                fields = []
        lines.append(separator.join(fields))
    text = end.join(lines) + (end if rng.random() < 0.7 else "")
    return ("\ufeff" if rng.random() < 0.2 else "") + text


@pytest.mark.parametrize("nasty", [False, True])
def test_csv_is_what_a_simple_reading_gives(tool, nasty):
    rng = random.Random(SEED * 2 + nasty)
    for case in range(CASES):
        separator = rng.choice(",,,;\t|")
        path = {"\t": rng.choice(["t.tsv", "t.csv"]), "|": rng.choice(["t.psv", "t.csv"])}.get(separator, "t.csv")
        unnamed = rng.choice(["keep", "drop", "hmac k1"])
        text = random_csv(rng, separator, nasty)
        spec, actions, shown = spec_of(rng, unnamed)
        want, stats = expected_csv(text, separator, actions, shown, unnamed)
        # a cut inside a broken record is the publisher's, and another matter
        chunk = 1 << 20 if nasty or separator in ";|\t" and path == "t.csv" else rng.choice([1, 50, 200, 1 << 20])
        got, got_stats = tool(spec, path, text.encode(), chunk)
        assert got == want, f"case {case}\n{spec}\n{text!r}\ngot  {got!r}\nwant {want!r}\n{got_stats}"
        assert got_stats == stats, f"case {case}\n{spec}\n{text!r}"


# -- JSON lines ---------------------------------------------------------------------------------


class Raw(str):
    """A number as it was written."""


def spaces(rng):
    return rng.choice(["", "", "", " ", "  ", "\t"])


def spelled(rng, value):
    """JSON text of a value in one of its many spellings."""
    if value is None or value is True or value is False:
        return json.dumps(value)
    if isinstance(value, Raw):
        return str(value)
    if isinstance(value, str):
        out = []
        for c in value:
            r = rng.random()
            if r < 0.03 and c != "\x00":
                out.append(json.dumps(c)[1:-1] if c < " " or c in '"\\' else "".join(f"\\u{u:04x}" for u in utf16(c)))
            elif c in '"\\' or c < " ":
                out.append(json.dumps(c)[1:-1])
            elif c == "/" and r < 0.5:
                out.append("\\/")
            else:
                out.append(c)
        return '"' + "".join(out) + '"'
    raise AssertionError(value)


def utf16(c):
    b = c.encode("utf-16-be")
    return [int.from_bytes(b[i:i + 2], "big") for i in range(0, len(b), 2)]


class Member:
    def __init__(self, key, value, text):
        self.key, self.value, self.text = key, value, text


def json_object(rng, members, emit):
    """Text of an object; `emit(member)` gives None to leave a member out.  The layout rule: a removed member takes the comma before it,
    or, when no member before it stays, everything up to the next one."""
    opening, closing = spaces(rng), spaces(rng)
    parts = []
    for m in members:
        parts.append((m, spaces(rng), spaces(rng)))
    whole = "{" + opening + ",".join((a if i else "") + m.text + b for i, (m, a, b) in enumerate(parts)) + closing + "}"
    out, kept, last_after = "{" + opening, False, ""
    for m, before, after in parts:
        text = emit(m)
        if text is None:
            if not kept:
                last_after = after
            continue
        out += (last_after + "," + before if kept else "") + text
        kept, last_after = True, after
    return whole, out + (parts and (last_after if kept else last_after) or "") + closing + "}"


JSON_WORDS = [w for w in WORDS if w] + ["", "é\"\\/\b\f\n\r\t", "a/b"]


def json_value(rng, kind):
    if rng.random() < 0.1:
        return None
    if kind in ("integer", "number"):
        return rng.choice([Raw("17"), Raw("18"), Raw("18.0"), Raw("-7.5"), Raw("1e2"), Raw("39.125"), Raw("40.10"), "18", True, Raw("1E+1")])
    return rng.choice(JSON_WORDS) if rng.random() < 0.9 else rng.choice([Raw("12345"), False])


class Holder:
    """What stands where one value should: its members have no name in the contract."""

    def __init__(self, rng):
        self.inner, self.other = rng.choice(["zq", "é", 7, True, None]), rng.choice(["in a list", 1.5])
        self.listed, self.deep = rng.random() < 0.4, rng.random() < 0.3

    def text(self, mask=None):
        """`mask`: of what has no name; None: it stays."""
        inner = json.dumps(self.inner) if mask in (None, "drop") else json_masked(None, mask, self.inner)
        held = "{}" if mask == "drop" else '{"x":null}' if mask and self.deep else '{"x":{"y":%s}}' % inner if self.deep else '{"x":%s}' % inner
        return "[%s,%s]" % (json.dumps(self.other), held) if self.listed else held


def json_masked(rng, mask, value):
    if value is None or isinstance(value, Holder):
        return "null"
    text = str(value) if isinstance(value, str) else json.dumps(value)
    out = masked(mask, text)
    if out is None:
        return "null"
    if isinstance(value, Raw) and mask.split()[0] in ("round", "top"):
        return out
    return json.dumps(out)


def test_jsonl_is_what_a_simple_reading_gives(tool):
    rng = random.Random(SEED * 3)
    kinds = dict(COLUMNS)
    for case in range(CASES):
        unnamed = rng.choice(["keep", "drop", "redact"])
        spec, actions, shown = spec_of(rng, unnamed)
        text, want, stats = [], [], [0, 0, 0]
        for _ in range(rng.randrange(30)):
            end = rng.choice(["\n", "\n", "\r\n", " \n"])
            stats[0] += 1
            if rng.random() < 0.12:
                text.append(rng.choice(["{", "[1]", '{"id":1,}', '{"id":01}', '{"id" 1}', '"id"', "{'id':1}", '{"id":"a\tb"}', '{"id":"\\x"}', '{"id":1}}',
                                        '{"id":1} {"id":2}', '{"id":tru}', '{"id":"\\u12g4"}', '{"a":[1,]}', '{"a":[1}', '{"email":"open}', "nul", '{"a":+1}',
                                        '{"a":.5}', '{,}', '{"a":1,,"b":2}', '{"a"}', '{"a":\\"x\\"}']) + end)
                stats[2] += 1
                continue
            members, row = [], {c: None for c in kinds}
            names = list(kinds)
            rng.shuffle(names)
            for name in names + (["extra"] if rng.random() < 0.4 else []):
                if rng.random() < 0.1:
                    continue
                value = Holder(rng) if name in kinds and rng.random() < 0.05 else json_value(rng, kinds.get(name, "string"))
                key = '"' + "".join(f"\\u{ord(c):04x}" if rng.random() < 0.03 else c for c in name) + '"'
                before, after = spaces(rng), spaces(rng)
                members.append(Member(name, (value, key + before + ":" + after),
                                      key + before + ":" + after + (value.text() if isinstance(value, Holder) else spelled(rng, value))))
                if name in row:
                    number = kinds[name] in ("integer", "number")
                    fits = isinstance(value, Raw) if number else isinstance(value, str) and not isinstance(value, Raw)
                    row[name] = value if value is None or fits else WRONG

            def emit(m):
                mask = actions.get(m.key) if m.key in kinds else None if unnamed == "keep" else unnamed
                if mask is None and isinstance(m.value[0], Holder) and unnamed != "keep":
                    return m.value[1] + m.value[0].text(unnamed)
                if mask is None:
                    return m.text
                if mask == "drop":
                    return None
                return m.value[1] + json_masked(rng, mask, m.value[0])

            whole, kept = json_object(rng, members, emit)
            text.append(whole + end)
            if truth_of(shown, spec, row) is True:
                stats[1] += 1
                want.append(kept + end)
        data = "".join(text).encode()
        got, got_stats = tool(spec, "t.jsonl", data, rng.choice([1, 100, 1 << 20]))
        expect = "".join(want).encode()
        assert got is not None, f"{spec}\n{got_stats}"
        for g, w in zip(got.split(b"\n"), expect.split(b"\n")):
            assert same_line(g, w), f"case {case}\n{spec}\ngot  {g!r}\nwant {w!r}"
        assert got.count(b"\n") == expect.count(b"\n"), f"case {case}\n{spec}\n{data!r}\ngot  {got!r}\nwant {expect!r}"
        assert got_stats == stats, f"case {case}\n{spec}\n{data!r}"


def same_line(got, want):
    """Equal bytes, but for how a masked text is escaped."""
    return got == want or bool(got and want) and json.loads(got, parse_float=str, parse_int=str, object_pairs_hook=list) == \
        json.loads(want, parse_float=str, parse_int=str, object_pairs_hook=list)


WRONG = object()


def truth_of(shown, spec, row):
    """A value of the wrong type makes what is asked of it unknown; a missing member is a null."""
    def known(value):
        return None if value is WRONG else value
    if "is null" in spec:
        return row["note"] is None
    return shown({c: known(v) for c, v in row.items()})


# -- compressed ---------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["gz", "zst"])
def test_compressed_views_hold_what_plain_ones_do(tool, kind):
    zstandard = pytest.importorskip("zstandard") if kind == "zst" else None
    rng = random.Random(SEED * 5)
    pack = gzip.compress if kind == "gz" else zstandard.ZstdCompressor().compress

    def unpack(data):
        return gzip.decompress(data) if kind == "gz" else zstandard.ZstdDecompressor().stream_reader(io.BytesIO(data)).read()

    for _ in range(40):
        text = random_csv(rng, ",", True).encode()
        spec, _, _ = spec_of(rng)
        plain, stats = tool(spec, "t.csv", text)
        cut = rng.randrange(len(text) + 1)
        whole, whole_stats = tool(spec, f"t.csv.{kind}", pack(text))
        parts, _ = tool(spec, f"t.csv.{kind}", pack(text[:cut]) + pack(text[cut:]))
        assert unpack(whole) == plain and whole == parts and stats == whole_stats
    big = b"id,email\n" + b"".join(b"%d,user%d@x.example\n" % (i, i) for i in range(300000))
    spec = "contract\n  - {name: id, logicalType: integer}\n  - {name: email, logicalType: string}\nend\nmask email drop\n"
    got, stats = tool(spec, f"t.csv.{kind}", pack(big))
    assert unpack(got) == b"id\n" + b"".join(b"%d\n" % i for i in range(300000)) and stats == [300000, 300000, 0]
    assert tool(spec, f"t.csv.{kind}", pack(big)[:-20])[1][0] == "denied"
    assert tool(spec, f"t.csv.{kind}", b"id,email\n1,x\n")[1][0] == "denied"


# -- Parquet ------------------------------------------------------------------------------------

PARQUET = """contract
  - {name: id, logicalType: integer}
  - {name: email, logicalType: string}
  - {name: age, logicalType: integer}
  - {name: born, logicalType: date}
  - name: address
    logicalType: object
    properties: [{name: zip, logicalType: string}, {name: city, logicalType: string}]
  - {name: tags, logicalType: array, items: {logicalType: string}}
  - {name: block, logicalType: integer}
  - {name: seen, logicalType: timestamp}
end
"""


def people(n=1000):
    pa = pytest.importorskip("pyarrow")
    import datetime
    return pa.table({
        "id": list(range(n)), "email": [f"canary{i}@x.example" for i in range(n)], "age": [None if i % 7 == 0 else i % 90 for i in range(n)],
        "born": [datetime.date(1990, 1, 1 + i % 28) for i in range(n)],
        "address": [None if i % 11 == 0 else {"zip": f"canary{i:05}", "city": "X"} for i in range(n)],
        "tags": [["a", None, "b"][:i % 4] for i in range(n)], "block": [i // 250 for i in range(n)],
        "seen": pa.array([datetime.datetime(2024, 1, 1) + datetime.timedelta(hours=i) for i in range(n)], pa.timestamp("us")),
    })


WRITERS = [
    {}, {"write_page_index": True}, {"compression": "zstd", "data_page_version": "2.0"}, {"compression": "gzip", "use_dictionary": False},
    {"compression": "none", "write_statistics": False}, {"use_deprecated_int96_timestamps": True}, {"store_schema": False},
]


def read_everywhere(path):
    """Rows as the four readers that people use see them; all must agree."""
    duckdb, polars, pandas, pq = (pytest.importorskip(m) for m in ("duckdb", "polars", "pandas", "pyarrow.parquet"))
    rows = pq.read_table(path).to_pylist()
    assert duckdb.sql(f"select * from '{path}'").to_arrow_table().to_pylist() == rows
    assert polars.read_parquet(path).to_arrow().to_pylist() == rows
    assert len(pandas.read_parquet(path)) == len(rows)
    return rows


def view_parquet(tool, tmp_path, table, spec, **writer):
    pq = pytest.importorskip("pyarrow.parquet")
    pq.write_table(table, tmp_path / "t.parquet", row_group_size=250, **writer)
    got, why = tool(PARQUET + spec, "t.parquet", (tmp_path / "t.parquet").read_bytes())
    if got is None:
        return None, why
    (tmp_path / "view.parquet").write_bytes(got)
    return read_everywhere(tmp_path / "view.parquet"), got


@pytest.mark.parametrize("writer", WRITERS, ids=str)
def test_parquet_columns_go_without_decoding(tool, tmp_path, writer):
    table = people()
    rows, got = view_parquet(tool, tmp_path, table, "mask email drop\nmask address.zip drop\nmask age null\nmask id null\n", **writer)
    assert b"canary" not in got and b"pandas" not in got and b"ARROW:schema" not in got
    want = table.drop(["email"]).to_pylist()
    for row in want:
        row["age"] = row["id"] = None
        if row["address"] is not None:
            del row["address"]["zip"]
    assert rows == want
    rows, got = view_parquet(tool, tmp_path, table, "mask address drop\nmask tags drop\nmask email drop\nunnamed drop\n", **writer)
    assert rows == table.drop(["address", "tags", "email"]).to_pylist() and b"canary" not in got


@pytest.mark.parametrize("writer", WRITERS[:2], ids=str)
def test_parquet_row_groups_go_by_their_statistics(tool, tmp_path, writer):
    table, writer = people(), {**writer, "compression": "none"}
    rows, got = view_parquet(tool, tmp_path, table, "rows row.block >= 2 and not (row.block == 3)\n", **writer)
    assert rows == table.slice(500, 250).to_pylist()
    assert b"canary17@" not in got and b"canary517@" in got
    rows, _ = view_parquet(tool, tmp_path, table, "rows row.block in {0, 3}\nmask address drop\n", **writer)
    assert [r["id"] for r in rows] == [*range(250), *range(750, 1000)]
    rows, _ = view_parquet(tool, tmp_path, table, "rows row.block > 17\n", **writer)
    assert rows == []


def test_parquet_that_no_view_can_be_made_of_is_denied(tool, tmp_path):
    pq = pytest.importorskip("pyarrow.parquet")
    table = people(10)
    pq.write_table(table, tmp_path / "t.parquet")
    data = (tmp_path / "t.parquet").read_bytes()
    for broken in (b"", b"PAR1", data[:-1], data[:-8] + b"\xff\xff\xff\x7fPAR1", data[:-4] + b"PARE", data[:200] + data[-8:],
                   data[:-300] + bytes(292) + data[-8:]):
        got, why = tool(PARQUET + "mask email drop\n", "t.parquet", broken)
        assert got is None and why[0] == "denied", why
    every = "".join(f"mask {c} drop\n" for c in table.column_names)
    assert "no column is left" in view_parquet(tool, tmp_path, table, every)[1][1]


def test_parquet_through_an_engine_gives_the_rows_that_csv_gives(tool, tmp_path):
    if not os.environ.get("MESHFS_DUCKDB"):
        pytest.skip("MESHFS_DUCKDB names no engine")
    import csv
    table = people().select(["id", "email", "age", "born", "block"])
    for spec in ("rows row.age > 80\nmask email drop\nmask born year\n", "mask email hmac k1\nmask age round 5\n", "rows row.age is null\nmask id top 40\n",
                 'rows row.email like "canary1*" and row.born >= "1990-01-20"\nmask email partial first 3\nmask block null\n', "rows row.born == 1990-01-05\n"):
        out = io.StringIO()
        writer = csv.DictWriter(out, table.column_names)
        writer.writeheader()
        writer.writerows(table.to_pylist())
        lines, _ = tool(PARQUET + spec, "t.csv", out.getvalue().encode())
        want = [{k: v or None for k, v in row.items()} for row in csv.DictReader(io.StringIO(lines.decode()))]
        rows, why = view_parquet(tool, tmp_path, table, spec)
        assert rows is not None, why
        assert [{k: None if v is None else str(v) for k, v in row.items()} for row in rows] == want, spec


def test_the_shape_of_line_views(tool):
    pandas, polars = pytest.importorskip("pandas"), pytest.importorskip("polars")
    spec = spec_of(random.Random(7), drops=False)[0].split("unnamed")[0] + "mask email hmac k1\nmask note drop\n"
    text = "id,email,name,age,zip,born,note\r\n" + "".join(f'{i},u{i}@x.example,"N, ""{i}""",{i % 90},12345,1990-01-01,free\r\n' for i in range(500))
    got, _ = tool(spec, "t.csv", text.encode(), 1000)
    frame = pandas.read_csv(io.BytesIO(got))
    assert list(frame.columns) == ["id", "email", "name", "age", "zip", "born"] and len(frame) == 500 and frame.email.str.len().eq(32).all()
    assert polars.read_csv(io.BytesIO(got)).height == 500
    lines = "".join(json.dumps({"id": i, "email": f"u{i}", "name": "é", "note": {"deep": [1, {"x": "y"}]}}) + "\n" for i in range(500))
    got, _ = tool(spec, "t.jsonl", lines.encode(), 1000)
    assert len(pandas.read_json(io.BytesIO(got), lines=True)) == 500 and polars.read_ndjson(io.BytesIO(got)).columns == ["id", "email", "name"]
