"""Catalogs and manifests that somebody made to do harm: right hashes, and anything in them.

All of them stand side by side in one mesh, as domains of one mount: no crash, no hang, no wrong byte, bounded memory, and the healthy
domain among them does not notice.
"""
import errno
import os
import random
import re
import shutil
import subprocess
import time
import zlib
from concurrent.futures import ThreadPoolExecutor

import pytest

from forge import forge_manifest, forge_snapshot, newest
from meshkit import NOISE, Mesh

BIG = random.Random(5).randbytes(3 << 20)
FILES = {"a.csv": b"id,name\n1,ann\n2,bob\n", "deep/b.txt": b"hello\n", "big.bin": BIG, "deep/zeros": bytes(1 << 20)}
I64 = (1 << 63) - 1
BASE = "healthy"


def corrupt(table, count, seed):
    """Flips bytes in the pages of a table, by way of dbstat's page numbers when there are any, else anywhere after the first page."""
    def act(db):
        path = db.execute("PRAGMA database_list").fetchone()[2]
        page = db.execute("PRAGMA page_size").fetchone()[0]
        root = db.execute("SELECT rootpage FROM sqlite_master WHERE name = ?", (table,)).fetchone()[0]
        db.close()
        rng = random.Random(seed)
        with open(path, "r+b") as f:
            for _ in range(count):
                f.seek((root - 1) * page + rng.randrange(page))
                f.write(rng.randbytes(1))
    return act


def schema(old, new):
    """Changes the text of the schema behind SQLite's back."""
    def act(db):
        db.execute("PRAGMA writable_schema = on")
        db.execute("UPDATE sqlite_master SET sql = replace(sql, ?, ?)", (old, new))
    return act


def symlink(name, target, row=None):
    """An entry of the version's top folder becomes a link."""
    return (f"UPDATE entry SET kind = 3, size = {len(target)}, target = CAST('{target}' AS BLOB), hash = NULL, content = NULL, first_chunk = NULL,"
            f" chunk_count = NULL, aligned = NULL WHERE name = CAST('{name}' AS BLOB)",)


# name: statements on the manifest.
MANIFESTS = {
    "trigger": ["CREATE TRIGGER t AFTER INSERT ON entry BEGIN SELECT 1; END"],
    "view": ["CREATE VIEW more AS WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT x FROM n"],
    "table-is-view": ["ALTER TABLE entry RENAME TO old", "CREATE VIEW entry AS SELECT * FROM old"],
    "virtual": ["CREATE VIRTUAL TABLE f USING fts5(a)"],
    "rtree": ["CREATE VIRTUAL TABLE f USING rtree(id, a, b)"],
    "generated": [schema("child_count INTEGER", "child_count INTEGER AS (1)")],
    "check": [schema("size INTEGER NOT NULL", "size INTEGER NOT NULL CHECK(size < abs(random()))")],
    "index": ["CREATE INDEX evil ON entry (length(hex(zeroblob(100000000))))"],
    "huge-schema": [lambda db: [db.execute(f"CREATE TABLE t{i} ({', '.join(f'c{j}' for j in range(60))})") for i in range(400)]],
    "size-max": [(f"UPDATE entry SET size = {I64} WHERE name = CAST('big.bin' AS BLOB)",)],
    "size-minus": [("UPDATE entry SET size = -1 WHERE kind = 2",)],
    "size-real": [("UPDATE entry SET size = 1e300 WHERE kind = 2",)],
    "size-more": [("UPDATE entry SET size = size + 1 WHERE kind = 2",)],
    "size-less": [("UPDATE entry SET size = size - 1 WHERE kind = 2",)],
    "all-sizes": [(f"UPDATE entry SET size = {I64} WHERE kind = 2",), (f"UPDATE manifest SET bytes = {I64}",)],
    "chunks-many": [("UPDATE entry SET chunk_count = 4294967295 WHERE kind = 2",)],
    "chunks-many-large": [(f"UPDATE entry SET chunk_count = 4294967295, size = {I64} WHERE kind = 2",)],
    "chunks-shared": [("UPDATE entry SET first_chunk = 1 WHERE kind = 2",)],
    "chunk-offset": [(f"UPDATE chunk SET file_offset = {I64 // 2}",)],
    "chunk-zero": [("UPDATE chunk SET length = 0",)],
    "chunk-long": [("UPDATE chunk SET length = 67108865, stored_length = 67108865",)],
    "chunk-tail": [(f"UPDATE chunk SET pack_offset = {I64 // 2}",)],
    "chunk-raw-offset": [(f"UPDATE chunk SET raw_offset = {I64 // 2}",)],
    "chunk-slot": [("UPDATE chunk SET slot = 4294967295",)],
    "chunk-piece": [("UPDATE chunk SET piece = 4294967295",)],
    "chunk-codec": [("UPDATE chunk SET codec = 7",)],
    "chunk-codec-swapped": [("UPDATE chunk SET codec = 1 - codec",)],
    "chunk-digest": [("UPDATE chunk SET digest = randomblob(32)",)],
    "chunk-hash": [("UPDATE chunk SET hash = randomblob(16)",)],
    "chunk-leaves": [("UPDATE chunk SET leaves = zeroblob(65000000)",)],
    "chunk-all-null": [schema("NOT NULL", "        "), lambda db: None],
    "bomb": [("UPDATE chunk SET length = length - 1 WHERE codec = 1",)],
    "pack-size": [(f"UPDATE pack SET size = {I64}, raw_size = {I64}, slots = 4294967295",)],
    "pack-tiny": [("UPDATE pack SET size = 0, raw_size = 0, slots = 0",)],
    "pack-up": [("UPDATE pack SET key = '.mesh/packs/../../../../etc/passwd'",)],
    "pack-in-place": [("UPDATE pack SET key = '../../etc/passwd', in_place = 1",)],
    "pack-absolute": [("UPDATE pack SET key = '/etc/passwd', in_place = 1",)],
    "pack-secret": [("UPDATE pack SET key = '.mesh/HEAD', in_place = 1",)],
    "pack-gone": [("DELETE FROM pack",)],
    "name-up": [("UPDATE entry SET name = CAST('..' AS BLOB) WHERE name = CAST('deep' AS BLOB)",)],
    "name-slash": [("UPDATE entry SET name = CAST('../../etc' AS BLOB) WHERE name = CAST('deep' AS BLOB)",)],
    "name-nul": [("UPDATE entry SET name = x'610062' WHERE name = CAST('deep' AS BLOB)",)],
    "name-empty": [("UPDATE entry SET name = x'' WHERE name = CAST('deep' AS BLOB)",)],
    "name-long": [("UPDATE entry SET name = zeroblob(256) WHERE name = CAST('deep' AS BLOB)",)],
    "name-huge": [("UPDATE entry SET name = zeroblob(100000000) WHERE name = CAST('deep' AS BLOB)",)],
    "name-text": [("UPDATE entry SET name = 'deep' WHERE name = CAST('deep' AS BLOB)",)],
    "name-mesh": [("UPDATE entry SET name = CAST('.mesh' AS BLOB) WHERE name = CAST('deep' AS BLOB)",)],
    "link-absolute": [symlink("a.csv", "/etc/passwd")],
    "link-up": [symlink("a.csv", "../../../../etc/passwd")],
    "link-itself": [symlink("a.csv", "a.csv")],
    "link-loop": [symlink("a.csv", "big.bin"), symlink("big.bin", "a.csv")],
    "link-folder": [symlink("a.csv", ".")],
    "parent-itself": [("UPDATE entry SET parent = row WHERE row > 1",)],
    "parent-later": [("UPDATE entry SET parent = row + 1 WHERE row > 1",)],
    "root-file": [("UPDATE entry SET kind = 2 WHERE row = 1",)],
    "root-gone": [("DELETE FROM entry WHERE row = 1",)],
    "children-many": [(f"UPDATE entry SET child_count = {1 << 39} WHERE kind = 1",), (f"UPDATE manifest SET rows = {1 << 40}",)],
    "children-overlap": [("UPDATE entry SET first_child = row + 1, child_count = (SELECT max(row) FROM entry) - row WHERE kind = 1",)],
    "rows-many": [(f"UPDATE manifest SET rows = {1 << 40}, files = {1 << 40}",)],
    "rows-minus": [("UPDATE manifest SET rows = -1",)],
    "twice": [("INSERT INTO manifest SELECT * FROM manifest",)],
    "time-first": [(f"UPDATE entry SET mtime = {-I64 - 1}",), (f"UPDATE manifest SET created = {-I64 - 1}",)],
    "time-last": [(f"UPDATE entry SET mtime = {I64}",), (f"UPDATE manifest SET created = {I64}",)],
    "kind": [("UPDATE entry SET kind = 99 WHERE row > 1",)],
    "tree": [("UPDATE manifest SET tree = zeroblob(100000000)",)],
    "pages-entry": [corrupt("entry", 40, 1)],
    "pages-chunk": [corrupt("chunk", 40, 2)],
    "pages-index": [corrupt("entry_name", 40, 3)],
    "pages-schema": [corrupt("manifest", 60, 4)],
}

# name: statements on the catalog, and fields of its head.
CATALOGS = {
    "c-trigger": ["CREATE TRIGGER t AFTER INSERT ON product BEGIN SELECT 1; END"],
    "c-view": ["CREATE VIEW more AS SELECT 1"],
    "c-vtab": ["CREATE VIRTUAL TABLE f USING fts5(a)"],
    "c-name-up": ["UPDATE product SET name = '../../etc'"],
    "c-name-nul": ["UPDATE product SET name = CAST(x'6f7200' AS TEXT)"],
    "c-name-html": ["UPDATE product SET name = '<b>'"],
    "c-title": ["UPDATE product SET title = 'x' || char(10) || char(27) || '[2J' || char(0) || 'y', description = char(8238) || 'z'"],
    "c-title-huge": ["UPDATE product SET title = printf('%.*c', 60000000, 'x'), description = printf('%.*c', 60000000, 'x')"],
    "c-latest": ["UPDATE product SET latest = '9.9.9', active = 4000000000"],
    "c-latest-bad": ["UPDATE product SET latest = '../1'"],
    "c-version-minus": ["UPDATE version SET major = -1"],
    "c-version-huge": [f"UPDATE version SET major = {I64}"],
    "c-status": ["UPDATE version SET status = 7"],
    "c-manifest-size": [f"UPDATE version SET manifest_size = {I64}"],
    "c-manifest-size-tib": [f"UPDATE version SET manifest_size = {1 << 40}"],
    "c-manifest-zero": ["UPDATE version SET manifest_size = 0"],
    "c-manifest-blob": ["UPDATE version SET manifest = zeroblob(100000000)"],
    "c-bytes": [f"UPDATE version SET bytes = {I64}, files = {I64}"],
    "c-bytes-minus": ["UPDATE version SET bytes = -1"],
    "c-published": [f"UPDATE version SET published_ns = {I64}"],
    "c-published-minus": [f"UPDATE version SET published_ns = {-I64 - 1}"],
    "c-created-first": [f"UPDATE meta SET created_ns = {-I64 - 1}"],
    "c-created-last": [f"UPDATE meta SET created_ns = {I64}"],
    "c-generation": [f"UPDATE meta SET generation = {I64}"],
    "c-twice": ["INSERT INTO meta SELECT * FROM meta"],
    "c-none": ["DELETE FROM meta"],
    "c-orphan": ["DELETE FROM product"],
    "c-quality": ["UPDATE version SET quality = printf('%.*c', 60000000, '[')"],
    "c-quality-deep": ["UPDATE version SET quality = printf('%.*c', 100000, '[')"],
    "c-quality-odd": ["UPDATE version SET quality = '{\"score\": 1e400, \"failed_errors\": -1, \"results\": [[], null, 7]}'"],
    "c-contract-gone": ["UPDATE version SET contract = zeroblob(32)"],
    "c-contract-huge": [("INSERT INTO contract VALUES (zeroblob(32), printf('%.*c', 60000000, '['))"), "UPDATE version SET contract = zeroblob(32)"],
    "c-contract-bomb": [("INSERT INTO contract VALUES (zeroblob(32), ?)",
                         "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(f"{chr(98 + i)}: &{chr(98 + i)} [{','.join(['*' + chr(97 + i)] * 9)}]\n" for i in range(9))),
                        "UPDATE version SET contract = zeroblob(32)"],
    "c-policy": ["INSERT INTO policy VALUES ('../x.policy', 'x')"],
    "c-policy-huge": ["INSERT INTO policy VALUES ('x.policy', printf('%.*c', 60000000, '('))"],
    "c-policy-deep": [("INSERT INTO policy VALUES ('x.policy', ?)", "policy x scope domain c-policy-deep version 1\n\npermit p\n  when    " + "(" * 20000 + "true" + ")" * 20000 + "\n")],
    "c-condemned": ["INSERT INTO condemned VALUES ('../../etc/passwd', 1, 1)"],
    "c-condemned-time": [f"INSERT INTO condemned VALUES ('.mesh/packs/ab', {I64}, {-I64 - 1})"],
    "c-search": ["UPDATE search_data SET block = randomblob(length(block))"],
    "c-search-zero": ["UPDATE search_data SET block = zeroblob(10)"],
    "c-search-idx": ["UPDATE search_idx SET pgno = 4294967296"],
    "c-search-config": ["UPDATE search_config SET v = 99"],
    "c-search-gone": ["DELETE FROM search_content", "DELETE FROM search_docsize"],
    "c-search-rows": ["UPDATE search_content SET id = 9223372036854775807"],
    "c-pages": [corrupt("version", 30, 5)],
    "c-pages-product": [corrupt("product", 30, 6)],
}
HEADS = {
    "h-future": {"time_ns": I64, "time": "9999-12-31T00:00:00Z"},
    "h-size": {"size": 268435456},
    "h-size-small": {"size": 1},
    "h-format": {"format": I64},
    "h-deep": {"more": [[[[[[[[]]]]]]]]},
    "h-hash": {"snapshot": "0" * 64},
}
HEAD_TEXTS = {
    "t-nest": "[" * 16000, "t-empty": "", "t-nul": "\0" * 16384, "t-large": "x" * 20000, "t-list": "[1]", "t-number": "1e999",
    "t-alias": "a: &a [*a]", "t-tag": "!!python/object {}", "t-docs": "---\n---\n", "t-dup": '{"format": 1, "format": 1}',
}


def copy_store(source, target):
    """Packs are linked: nobody changes them here."""
    shutil.copytree(source, target, copy_function=lambda a, b: os.link(a, b) if "/packs/" in a else shutil.copy2(a, b))


@pytest.fixture(scope="module")
def hostile_mesh(tmp_path_factory):
    """Domains with one product each: what was done to each stands in its name."""
    mesh = Mesh(tmp_path_factory.mktemp("hostile"))
    mesh.domain(BASE)
    mesh.publish(f"{BASE}/orders/1.0.0", FILES)
    mesh.names = [*MANIFESTS, *CATALOGS, *HEADS, *HEAD_TEXTS]
    for name in mesh.names:
        store = mesh.folder / "stores" / name / ".mesh"
        copy_store(mesh.folder / "stores" / BASE / ".mesh", store)
        forge_manifest(store, ("UPDATE manifest SET domain = ?", name), snapshot=[("UPDATE meta SET domain = ?", name)], domain=name)
        if name in MANIFESTS:
            forge_manifest(store, *MANIFESTS[name])
        elif name in CATALOGS:
            forge_snapshot(store, CATALOGS[name])
        elif name in HEADS:
            forge_snapshot(store, [], **HEADS[name])
        else:
            newest(store)[0].unlink()
            (store / "HEAD").write_text(HEAD_TEXTS[name])
            (store / "heads/1").write_text(HEAD_TEXTS[name])
        (mesh.folder / f"policy/{name}.policy").write_text(f"policy {name} scope domain {name} version 1\n\npermit everyone\n")
    text = mesh.file.read_text()
    added = "".join(f'  {name}: {{ store: "{(mesh.folder / "stores" / name).as_uri()}" }}\n' for name in mesh.names)
    mesh.file.write_text(text.replace("domains:\n", "domains:\n" + added, 1) + "timeout: 4s\nrefresh: 1h\n")
    yield mesh
    mesh.close()


@pytest.fixture
def menagerie(hostile_mesh):
    """The mesh of a host that has read nothing of it yet."""
    shutil.rmtree(hostile_mesh.folder / "home", ignore_errors=True)
    return hostile_mesh


def explore(top):
    """Everything below: paths and what came of them.  Bytes must be those of a file that was published."""
    known = {zlib.crc32(data): data for data in FILES.values()}
    seen, entries, start = {}, 0, time.monotonic()

    def note(path, call):
        try:
            return call(path)
        except OSError as e:
            seen[str(path.relative_to(top))] = errno.errorcode[e.errno]
            return None

    stack = [top]
    while stack and entries < 2000:
        folder = stack.pop()
        for name in note(folder, os.listdir) or []:
            entries += 1
            path = folder / name
            assert name not in (".", "..") and "/" not in name
            st = note(path, os.lstat)
            if st is None:
                continue
            if os.path.islink(path):
                target = note(path, os.readlink)
                assert not target or not target.startswith("/") and ".." not in target.split("/")[:1], target
                note(path, os.stat)
            elif os.path.isdir(path):
                if len(path.parts) < len(top.parts) + 12:
                    stack.append(path)
            elif name not in ("README.md", "contract.yaml"):
                assert st.st_size >= 0
                data = note(path, lambda p: read_some(p, st.st_size))
                if data is not None:
                    assert known.get(zlib.crc32(data)) == data, (path, st.st_size, data[:50])
                    seen[str(path.relative_to(top))] = "ok"
            else:
                note(path, lambda p: p.read_bytes())
    assert entries < 2000 and time.monotonic() - start < 30, (entries, time.monotonic() - start)
    return seen


def read_some(path, size):
    if size <= 8 << 20:
        return path.read_bytes()
    with open(path, "rb", buffering=0) as f:
        for at in (0, 1 << 20, size // 2, size - 10):
            got = os.pread(f.fileno(), 100, at)
            assert got == BIG[at:at + 100], (path, at)
    return BIG


@pytest.mark.timeout(170)
def test_a_mount_among_hostile_catalogs(menagerie, fuse):
    mesh = menagerie
    wrong = {}
    with mesh.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}, check_noise=False) as m:
        def look(name):
            try:
                return name, explore(m.path / name)
            except AssertionError as e:
                wrong[name] = e
                return name, None
        with ThreadPoolExecutor(4) as pool:
            results = dict(pool.map(look, mesh.names))
        assert not wrong, wrong
        assert explore(m.path / BASE) == {f"orders/1.0.0/{name}": "ok" for name in FILES}
        rss = int(re.search(r"VmHWM:\s+(\d+)", open(f"/proc/{m.process.pid}/status").read())[1])
        codes = {code for found in results.values() for code in found.values()}
        assert codes == {"ok", "EIO", "ELOOP", "EACCES"}, results  # EACCES: a policy that does not parse
        assert [name for name in mesh.names if not results[name]] == [], results
        assert "asan" in os.environ.get("MESHFS_BIN", "") or rss < 400 << 10, rss
        assert (m.path / ".mesh/status.json").read_text() and (m.path / ".mesh/metrics").read_text()
        assert not NOISE.search(m.log()), m.log()
        for name in FILES:
            assert (m.path / BASE / "orders/1.0.0" / name).read_bytes() == FILES[name]


@pytest.mark.timeout(170)
def test_commands_among_hostile_catalogs(menagerie):
    mesh = menagerie
    commands = [["ls"], ["search", "orders"], ["status"], ["doctor"], ["show", BASE], ["ls", "-R", BASE]]
    for name in mesh.names:
        commands += [["ls", "-R", name], ["show", f"{name}/orders"], ["verify", name]]
    commands += [["warm", f"{name}/orders/1.0.0"] for name in ("size-max", "chunks-many-large", "pack-size", "link-loop", "c-latest")]

    def call(words):
        start = time.monotonic()
        done = subprocess.run([*mesh.command(), *words], capture_output=True, text=True, errors="replace", env=mesh.environment(), cwd=mesh.folder, timeout=60)
        return words, done.returncode, done.stderr, done.stdout, time.monotonic() - start

    with ThreadPoolExecutor(2) as pool:
        for words, status, err, out, took in pool.map(call, commands):
            assert status in (0, 1, 2, 3, 4, 5), (words, status, err)
            assert not NOISE.search(err + out), (words, err)
            assert "\x1b" not in out + err and "\0" not in out + err, (words, out, err)
            assert took < 20, (words, took)
            assert status == 0 or err.strip() or out.strip(), words
