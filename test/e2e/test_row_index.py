"""The index of a version's rows (contract: rowFingerprints): `lineage find` answers as it does without one, and reads less."""
import collections
import random
import sqlite3
import time

import pytest

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: {name}
name: {name}
version: 1.0.0
status: active
description:
  purpose: for tests
{asked}schema:
  - name: {name}
    physicalType: file
    properties:
      - {{name: id, logicalType: integer, classification: public}}
      - {{name: word, logicalType: string, classification: public}}
      - {{name: amount, logicalType: number, classification: public}}
"""
ASKED = "customProperties:\n  - {property: rowFingerprints, value: true}\n"


def line(rnd, quoted):
    word = rnd.choice(["a", "bb", "c,c" if quoted else "cc", 'q""q' if quoted else "q", "two\nlines" if quoted else "one line"])
    return f'{rnd.randrange(400)},{chr(34) + word + chr(34) if quoted else word},{rnd.choice(["1.50", "2", "", "3e1"])}'


def table(seed, rows, quoted=True, eol="\n"):
    rnd = random.Random(seed)
    return eol.join(["id,word,amount"] + [line(rnd, quoted) for _ in range(rows)]) + eol


def lines(seed, rows):
    rnd = random.Random(seed)
    return "".join(f'{{"id": {rnd.randrange(400)}, "word": "{rnd.choice("abc")}", "amount": {rnd.choice(["1.5", "2", "null"])}}}\n' for _ in range(rows))


def publish(mesh, product, asked, source, *args):
    path = mesh.tmp / f"{product}.yaml"
    path.write_text(CONTRACT.format(name=product, asked=ASKED if asked else ""))
    mesh.publish(f"sales/{product}/{args[0] if args else '1.0.0'}", source, "--contract", path, "--with-failures", "odd on purpose", *args[1:])


def found(mesh, path, product, *args):
    sources = collections.defaultdict(list)
    for s in mesh.json("lineage find", path, "--in", f"sales/{product}", *args):
        sources[s["record"]].append((s["address"].split("/", 2)[2], s["row"]) if s["address"] else None)
    return dict(sources)


def indexes(mesh):
    return sorted((mesh.stores["sales"] / ".mesh" / "rows").glob("*"))


@pytest.fixture
def shop(mesh, tmp_path):
    mesh.tmp = tmp_path
    mesh.domain("sales")
    mesh.stores = {"sales": mesh.folder / "stores" / "sales"}
    return mesh


def ask(shop, *texts, seed=9):
    """A file of some records of the texts (never of one that breaks lines), and of two that nobody has."""
    rnd = random.Random(seed)
    records = [r for t in texts for r in rnd.sample([r for r in t.splitlines()[1:] if r.count('"') % 2 == 0 and r.count(",") >= 2], 12)]
    path = shop.tmp / f"asked-{seed}.csv"
    path.write_text("\n".join(["id,word,amount", *records, "9999,zz,1", "9998,zz,"]) + "\n")
    return path


def both(shop, versions, *ask_args):
    """The same published with and without an index; answers must be equal."""
    for product, asked in (("indexed", True), ("plain", False)):
        for number, source in versions.items():
            publish(shop, product, asked, source, number)
    assert len(indexes(shop)) == len(versions)


def test_the_answer_is_the_same(shop):
    big = table(1, 120_000)  # several pieces
    versions = {"1.0.0": {"a.csv": big, "b.jsonl": lines(2, 500), "deep/c.tsv": table(3, 200, False).replace(",", "\t"), "empty.csv": ""},
                "1.1.0": {"a.csv": table(4, 300, eol="\r\n"), "b.jsonl": lines(2, 500), "no-end.csv": table(5, 50).rstrip("\n"), "x.bin": "id,word\n1,a\n"}}
    both(shop, versions)
    few = shop.tmp / "few.csv"
    few.write_text("id,word,amount\n" + "\n".join(r for r in big.splitlines()[-3:] if r.count('"') == 2) + "\n7777,a,\n")
    for path in (ask(shop, big, versions["1.1.0"]["a.csv"]), few):
        answer = found(shop, path, "indexed")
        assert answer == found(shop, path, "plain") and any(s != [None] for s in answer.values()) and [None] in answer.values()
    # Columns in another order, others besides, and fewer: the last cannot be answered by fingerprints of whole records.
    fewer = shop.tmp / "fewer.csv"
    fewer.write_text("word,id\na,5\nbb,17\nnone,1\n")
    assert found(shop, fewer, "indexed") == found(shop, fewer, "plain")
    more = shop.tmp / "more.csv"
    more.write_text("amount,extra,id,word\n2.0,,5,a\n1.5,,17,a\n1.5,full,17,a\n")
    answer = found(shop, more, "indexed")
    assert answer == found(shop, more, "plain") and answer[3] == [None]
    assert found(shop, more, "indexed", "--column", "id", "--column", "word") == found(shop, more, "plain", "--column", "id", "--column", "word")


def test_records_are_read_only_where_they_are(shop):
    """With the chunks of every other file gone, the answer stands: they are not read."""
    publish(shop, "indexed", True, {"a.csv": "id,word,amount\n1,one,1\n"}, "1.0.0")
    publish(shop, "indexed", True, {"b.csv": table(6, 100)}, "2.0.0")
    packs = shop.stores["sales"] / ".mesh" / "packs"
    before = set(packs.iterdir())
    publish(shop, "indexed", True, {"a.csv": "id,word,amount\n5,here,1\n"}, "3.0.0")
    for pack in before:
        pack.unlink()
    path = shop.tmp / "asked.csv"
    path.write_text("id,word,amount\n5,here,1\n")
    told = shop.run("lineage", "find", path, "--in", "sales/indexed")
    assert "sales/indexed/3.0.0/a.csv row 1" in told.stdout and "not looked at" not in told.stderr
    path.write_text("id,word\n5,here\n")
    assert shop.run("lineage", "find", path, "--in", "sales/indexed").stderr.count("not looked at") == 2


def test_a_damaged_or_lying_index_is_not_used(shop):
    text = table(7, 60_000, False)
    publish(shop, "indexed", True, {"a.csv": text})
    path = ask(shop, text)
    expected = found(shop, path, "indexed")
    (index,) = indexes(shop)
    sound = index.read_bytes()
    index.chmod(0o600)

    def refused(change):
        index.write_bytes(sound)
        change()
        told = shop.run("lineage", "find", path, "--in", "sales/indexed")
        assert "cannot be used" in told.stderr, told.stderr
        assert found(shop, path, "indexed") == expected

    def edit(sql):
        db = sqlite3.connect(index)
        db.executescript(sql)
        db.close()

    refused(lambda: index.write_bytes(sound[:1000]))
    refused(lambda: index.write_bytes(b"no database at all" * 100))
    refused(lambda: edit("CREATE TABLE more (x)"))
    refused(lambda: edit("UPDATE file SET size = size + 1"))
    refused(lambda: edit("UPDATE piece SET start = start + 3"))
    refused(lambda: edit("UPDATE piece SET length = 1 << 40"))
    refused(lambda: edit("UPDATE piece SET first_row = 'x'"))
    refused(lambda: edit("UPDATE piece SET first_row = first_row + 1"))
    refused(lambda: edit("DELETE FROM piece"))
    refused(lambda: edit("UPDATE page SET places = substr(places, 13)"))
    refused(lambda: edit("UPDATE page SET places = places || x'00'"))
    refused(lambda: edit("PRAGMA user_version = 1"))
    index.write_bytes(sound)
    edit("DELETE FROM page")  # loses what it hides; invents nothing
    assert set(map(tuple, found(shop, path, "indexed").values())) <= {(None,)} | set(map(tuple, expected.values()))
    index.unlink()
    told = shop.run("lineage", "find", path, "--in", "sales/indexed")
    assert "cannot be used" not in told.stderr and found(shop, path, "indexed") == expected


def test_it_lives_as_long_as_its_version(shop):
    one, two = table(10, 200), table(11, 200)
    publish(shop, "indexed", True, {"a.csv": one}, "1.0.0")
    publish(shop, "indexed", True, {"b.csv": two}, "1.1.0", "--onto", "1.0.0")
    publish(shop, "plain", False, {"a.csv": one}, "1.0.0")
    publish(shop, "plain", False, {"b.csv": two}, "1.1.0", "--onto", "1.0.0")
    path = ask(shop, one, two)
    assert found(shop, path, "indexed") == found(shop, path, "plain")
    assert len(indexes(shop)) == 2
    for product in ("indexed", "plain"):
        shop.run("withdraw", f"sales/{product}/1.0.0", "--reason", "test")
    shop.run("gc", "sales", "--grace", "0s")
    shop.run("gc", "sales", "--grace", "0s")
    assert len(indexes(shop)) == 1
    answer = found(shop, path, "indexed")
    assert answer == found(shop, path, "plain") and {s[0] for sources in answer.values() for s in sources if s} >= {"1.1.0/a.csv", "1.1.0/b.csv"}


def test_a_draft_makes_one_too(shop):
    text = table(12, 300, False)
    publish(shop, "indexed", True, {"old.csv": table(13, 10)}, "1.0.0")
    with shop.mount() as m:
        draft = m.path / "sales/indexed/2.0.0.draft"
        draft.mkdir()
        (draft / "a.csv").write_text(table(14, 20))
        time.sleep(1.5)
        (draft / "a.csv").write_text(text)  # after it was fed: everything is observed again
        draft.rename(m.path / "sales/indexed/2.0.0")
    assert len(indexes(shop)) == 2
    publish(shop, "plain", False, {"old.csv": table(13, 10)}, "1.0.0")
    publish(shop, "plain", False, {"a.csv": text}, "2.0.0")
    path = ask(shop, text)
    assert found(shop, path, "indexed") == found(shop, path, "plain")
