"""publish, withdraw, verify, gc on real stores: what goes in comes out, and faults leave the store as it was or one version further.

The oracle reads manifests and packs with Python's own SQLite and Arrow's zstd, not with the program under test.
"""
import hashlib
import json
import os
import random
import signal
import socket
import sqlite3
import subprocess
import tempfile
import threading
import time
from pathlib import Path

import pytest

from meshkit import Mesh, write_tree

pa = pytest.importorskip("pyarrow")


class FileMesh(Mesh):
    """One domain, `sales`, on a folder."""

    def __init__(self, folder, store=None):
        super().__init__(folder, init=False)
        self.store = Path(store or self.folder / "store")
        self.store.mkdir(parents=True, exist_ok=True)
        (self.folder / "policy").mkdir(exist_ok=True)
        self.file.write_text(f'mesh: acme\ndomains:\n  sales: {{ store: "{self.store.as_uri()}" }}\n'
                             "policy: policy/\ncache: { dir: cache, limit: 1GiB }\nlineage: { db: lineage.db }\n")

    def source(self, files, name="src"):
        return write_tree(self.folder / name, files)

    def start(self, *args):
        return subprocess.Popen([*self.command(), *map(str, args)], env=self.environment(), cwd=self.folder,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL)

    def packs(self):
        return sorted((self.store / ".mesh/packs").glob("*"))

    def heads(self):
        return sorted((self.store / ".mesh/heads").glob("*"))


@pytest.fixture
def sales(tmp_path):
    return FileMesh(tmp_path / "mesh")


def manifests(store):
    """Each manifest as (a copy in memory, whose it is)."""
    for path in (store / ".mesh/manifests").glob("*"):
        content = path.read_bytes()
        assert hashlib.sha256(content).hexdigest() == path.name
        db = sqlite3.connect(":memory:")
        db.deserialize(content)
        yield db, db.execute("SELECT domain, product, version FROM manifest").fetchone()


def chunk_digest(raw):
    """What names a chunk, and its leaves, as docs/FORMATS.md has them."""
    if len(raw) <= 256 << 10:
        return hashlib.sha256(raw).digest(), b""
    leaves = b"".join(hashlib.sha256(raw[at:at + (64 << 10)]).digest()[:24] for at in range(0, len(raw), 64 << 10))
    return hashlib.new("sha512_256", leaves).digest(), leaves


def read_version(store, product, version):
    """{path (bytes): (kind, executable, mtime, content)}; checks every digest on the way."""
    for db, (_, p, v) in manifests(store):
        if (p, v) == (product, version):
            break
    else:
        raise KeyError(f"{product}/{version}")
    packs = {n: (key, in_place) for n, key, in_place in db.execute("SELECT number, key, in_place FROM pack")}
    paths, tree = {0: None}, {}
    for (row, parent, name, kind, executable, mtime, size, first, count, target) in db.execute(
            "SELECT row, parent, name, kind, executable, mtime, size, first_chunk, chunk_count, target FROM entry ORDER BY row"):
        paths[row] = name if not paths[parent] else paths[parent] + b"/" + name
        content = target
        if kind == 2:
            content = b""
            for digest, leaves, length, pack, offset, stored, codec in db.execute(
                    "SELECT digest, leaves, length, pack, pack_offset, stored_length, codec FROM chunk WHERE id >= ? AND id < ? ORDER BY id",
                    (first or 0, (first or 0) + count)):
                with open(store / packs[pack][0], "rb") as f:
                    f.seek(offset)
                    raw = f.read(stored)
                if codec == 1:
                    raw = pa.decompress(raw, decompressed_size=length, codec="zstd", asbytes=True)
                assert chunk_digest(raw) == (digest, leaves or b"")
                content += raw
            assert len(content) == size
        if row > 1:
            tree[paths[row]] = (kind, executable, mtime, content)
    return tree


def contents(tree):
    return {path.decode(errors="surrogateescape"): content for path, (kind, _, _, content) in tree.items() if kind == 2}


# -- what goes in comes out ---------------------------------------------------------------------

def test_everything_is_kept(sales):
    src = sales.source({"a.csv": "x,y\n1,2\n", "sub/tool": "#!/bin/sh\n", "empty.bin": "", "sub/deep/er/z": b"\0" * 70000})
    os.chmod(src / "sub/tool", 0o755)
    (src / "nothing here").mkdir()
    strange = [b"new\nline", b"bad\xff\xfeutf8", b"n" * 255, b"-rf", b" "]
    for name in strange:
        with open(os.path.join(os.fsencode(src), name), "wb") as f:
            f.write(name)
    os.symlink("../a.csv", src / "sub/link")
    os.symlink("nowhere", src / "dangling")
    os.link(src / "a.csv", src / "hard")
    os.utime(src / "a.csv", ns=(1, 1234567890123456789))
    os.utime(src / "nothing here", ns=(1, 987654321))
    result = sales.json("publish", "sales/orders/1.0.0", src)[0]
    assert result["address"] == "sales/orders/1.0.0" and result["outcome"] == "published"
    assert result["files"] == 5 + len(strange)
    tree = read_version(sales.store, "orders", "1.0.0")
    assert tree[b"a.csv"] == (2, 0, 1234567890123456789, b"x,y\n1,2\n")
    assert tree[b"hard"][3] == b"x,y\n1,2\n"
    assert tree[b"sub/tool"][1] == 1 and tree[b"sub/deep/er/z"][3] == b"\0" * 70000
    assert tree[b"empty.bin"][3] == b""
    assert tree[b"nothing here"] == (1, 0, 987654321, None)
    assert tree[b"sub/link"][0] == 3 and tree[b"sub/link"][3] == b"../a.csv"
    assert tree[b"dangling"][3] == b"nowhere"
    for name in strange:
        assert tree[name][3] == name
    sales.run("verify")


def test_several_sources_go_by_name(sales):
    one = sales.source({"x": "1", "sub/y": "2"}, "one")
    two = sales.source({"z": "3"}, "two")
    sales.run("publish", "sales/p/1.0.0", one, f"{two}/z")
    assert contents(read_version(sales.store, "p", "1.0.0")) == {"one/x": b"1", "one/sub/y": b"2", "z": b"3"}
    sales.run("publish", "sales/p/1.0.1", f"{two}/z")
    assert contents(read_version(sales.store, "p", "1.0.1")) == {"z": b"3"}
    done = sales.run("publish", "sales/p/1.0.2", f"{two}/z", f"{two}/z", status=1)
    assert "z: is given twice" in done.stderr


def test_big_files_of_each_kind(sales):
    import pyarrow.parquet as pq
    rng = random.Random(1)
    rows = "".join(f'{i},"a ""quoted"" {rng.random()}\nline",{rng.random()}\n' for i in range(120000))
    table = pa.table({"id": list(range(200000)), "v": [rng.random() for _ in range(200000)], "s": [str(i) for i in range(200000)]})
    src = sales.source({"big.csv": "id,note,v\n" + rows, "noise.bin": rng.randbytes(9_000_000),
                        "log.jsonl": "".join(json.dumps({"i": i, "x": rng.random()}) + "\n" for i in range(100000))})
    pq.write_table(table, src / "t.parquet", row_group_size=50000)
    sales.run("publish", "sales/big/1.0.0", src)
    tree = read_version(sales.store, "big", "1.0.0")
    for name, content in contents(tree).items():
        assert content == (src / name).read_bytes(), name
    db = next(db for db, who in manifests(sales.store))
    aligned = dict(db.execute("SELECT CAST(name AS TEXT), aligned FROM entry WHERE kind = 2"))
    assert aligned == {"big.csv": 1, "log.jsonl": 1, "noise.bin": 0, "t.parquet": 0}
    # Every column chunk's boundary is a chunk's boundary.
    meta = pq.read_metadata(src / "t.parquet")
    first, count = db.execute("SELECT first_chunk, chunk_count FROM entry WHERE name = CAST('t.parquet' AS BLOB)").fetchone()
    starts = {o for o, in db.execute("SELECT file_offset FROM chunk WHERE id >= ? AND id < ?", (first, first + count))}
    for g in range(meta.num_row_groups):
        for c in range(meta.num_columns):
            column = meta.row_group(g).column(c)
            start = min(o for o in (column.dictionary_page_offset, column.data_page_offset) if o)
            assert start in starts and start + column.total_compressed_size in starts
    sales.run("verify", "sales/big")


def test_an_inserted_row_is_cheap(sales):
    rng = random.Random(2)
    lines = [f"{i},{rng.random()},{rng.random()}\n" for i in range(400000)]
    src = sales.source({"t.csv": "a,b,c\n" + "".join(lines)})
    total = (src / "t.csv").stat().st_size
    assert total > 12e6
    sales.run("publish", "sales/t/1.0.0", src)
    sales.source({"t.csv": "a,b,c\n" + "new,1,2\n" + "".join(lines)})
    result = sales.json("publish", "sales/t", src, "--bump", "patch")[0]
    assert result["address"] == "sales/t/1.0.1"
    assert 0 < result["new_bytes"] < total / 3
    assert read_version(sales.store, "t", "1.0.1")[b"t.csv"][3] == (src / "t.csv").read_bytes()


def test_onto(sales):
    src = sales.source({"keep.csv": "1\n" * 1000, "change.csv": "old\n", "dir/x": "x"})
    sales.run("publish", "sales/t/1.0.0", src)
    more = sales.source({"change.csv": "new\n", "add/y": "y"}, "more")
    result = sales.json("publish", "sales/t/1.1.0", more, "--onto", "1.0.0")[0]
    assert result["files"] == 4 and result["new_bytes"] == 5
    assert contents(read_version(sales.store, "t", "1.1.0")) == {
        "keep.csv": b"1\n" * 1000, "change.csv": b"new\n", "dir/x": b"x", "add/y": b"y"}
    assert sales.run("publish", "sales/t/1.2.0", more, "--onto", "9", status=4).stderr
    sales.run("verify")


def test_in_place(sales):
    write_tree(sales.store / "raw", {"a.csv": "x\n" * 100, "sub/b.bin": b"\1" * 3_000_000})
    result = sales.json("publish", "sales/raw/1.0.0", sales.store / "raw", "--in-place")[0]
    assert result["files"] == 2 and sales.packs() == []
    assert contents(read_version(sales.store, "raw", "1.0.0")) == {"a.csv": b"x\n" * 100, "sub/b.bin": b"\1" * 3_000_000}
    sales.run("verify")
    done = sales.run("publish", "sales/raw/1.0.1", sales.source({"z": "1"}), "--in-place", status=1)
    assert "does not lie in the store" in done.stderr
    with open(sales.store / "raw/a.csv", "a") as f:
        f.write("more\n")
    done = sales.run("verify", "sales/raw/1.0.0", status=5)
    assert "sales/raw/1.0.0/a.csv" in done.stderr and "changed" in done.stderr


# -- what is refused ----------------------------------------------------------------------------

def test_special_files_are_refused_by_name(sales):
    src = sales.source({"a": "1"})
    os.mkfifo(src / "pipe")
    assert "pipe" in sales.run("publish", "sales/t/1.0.0", src, status=1).stderr
    os.unlink(src / "pipe")
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(src / "sock"))
    assert "sock" in sales.run("publish", "sales/t/1.0.0", src, status=1).stderr
    os.unlink(src / "sock")
    (src / "sub/.mesh").mkdir(parents=True)
    assert "sub/.mesh" in sales.run("publish", "sales/t/1.0.0", src, status=1).stderr
    (src / "sub/.mesh").rmdir()
    for target in ("/etc/passwd", "../../x", "b/../../../x"):
        os.symlink(target, src / "sub/l")
        assert "sub/l" in sales.run("publish", "sales/t/1.0.0", src, status=1).stderr
        os.unlink(src / "sub/l")
    assert not sales.heads()
    sales.run("publish", "sales/t/1.0.0", src)


def test_exit_codes(sales):
    src = sales.source({"a": "1"})
    for address in ("sales/t/1.2", "sales/t/1.2.3.draft", "sales/t/latest", "sales/latest/1.0.0", "sales/T/1.0.0", "sales/t", "sales"):
        sales.run("publish", address, src, status=2)
    sales.run("publish", "nosuch/t/1.0.0", src, status=4)
    sales.run("publish", "sales/t/1.0.0", src / "nosuch", status=4)
    sales.run("publish", "sales/t/1.0.0", src)
    again = sales.json("publish", "sales/t/1.0.0", src)[0]
    assert again["outcome"] == "unchanged" and again["new_bytes"] == 0
    heads, packs = sales.heads(), sales.packs()
    (src / "a").write_text("2")
    done = sales.run("publish", "sales/t/1.0.0", src, status=3)
    assert "already" in done.stderr
    assert sales.heads() == heads and sales.packs() == packs
    sales.run("withdraw", "sales/t/1.0.0", status=2)
    sales.run("withdraw", "sales/t/1.0.1", "--reason", "x", status=4)
    sales.run("withdraw", "sales/t/1.0.0", "--reason", "wrong")
    assert "withdrawn" in sales.run("publish", "sales/t/1.0.0", src, status=3).stderr
    assert sales.json("publish", "sales/t", src, "--bump", "patch")[0]["address"] == "sales/t/1.0.1"
    assert sales.json("publish", "sales/t", src, "--bump", "major")[0]["address"] == "sales/t/2.0.0"


def test_dry_run_stores_nothing(sales):
    src = sales.source({"a": "1"})
    sales.run("publish", "sales/t/1.0.0", src)
    before = sorted(p for p in sales.store.rglob("*"))
    (src / "b").write_text("2")
    result = sales.json("publish", "sales/t/1.1.0", src, "--dry-run")[0]
    assert result["outcome"] == "dry-run" and result["new_bytes"] == 1
    assert sorted(p for p in sales.store.rglob("*")) == before


def test_a_source_that_changes_is_noticed(sales):
    src = sales.source({"growing": random.Random(3).randbytes(48 << 20)})
    stop = threading.Event()

    def grow():
        with open(src / "growing", "r+b") as f:
            while not stop.is_set():
                f.seek(0)
                f.write(os.urandom(8))
                f.flush()
                time.sleep(0.001)

    writer = threading.Thread(target=grow)
    writer.start()
    try:
        done = sales.run("publish", "sales/t/1.0.0", src, status=1)
    finally:
        stop.set()
        writer.join()
    assert "growing" in done.stderr and "changed" in done.stderr
    assert len(sales.heads()) <= 1 and not sales.packs()
    sales.run("publish", "sales/t/1.0.0", src)


def test_run_and_publisher_are_recorded(sales):
    sales.run("publish", "sales/t/1.0.0", sales.source({"a": "1"}), env={"MESHFS_RUN": "nightly"})
    newest = json.loads((sales.store / ".mesh/HEAD").read_text())
    snapshot = next(p for p in (sales.store / ".mesh/snapshots").glob("*") if p.name in json.dumps(newest))
    assert b"nightly" in snapshot.read_bytes()


# -- faults -------------------------------------------------------------------------------------

def check_store(sales, expected):
    """Every version in `expected` ({version: files}) is whole, and the program agrees."""
    sales.run("verify")
    for version, files in expected.items():
        assert contents(read_version(sales.store, "t", version)) == files


def test_kill_at_random_moments(sales):
    rng = random.Random(4)
    first = {"a": b"1", "b.bin": rng.randbytes(300000)}
    sales.run("publish", "sales/t/1.0.0", sales.source(first))
    files = {f"f{i}": rng.randbytes(3_000_000) for i in range(8)}
    big = sales.source(files, "big")
    start = time.monotonic()
    sales.run("publish", "sales/t/1.1.0", big)
    whole = time.monotonic() - start
    killed, i = 0, 0
    while killed < 5:
        i += 1
        assert i < 60, "a publisher always ended before it was killed"
        (big / "f0").write_bytes(files["f0"] + bytes([i]))
        process, start = sales.start("publish", f"sales/t/2.{i}.0", big), time.monotonic()
        try:
            process.communicate(timeout=rng.random() * whole)
            whole = time.monotonic() - start  # most of the bytes are there already: it takes less than the first one did
        except subprocess.TimeoutExpired:
            process.kill()
            process.communicate()
        killed += process.returncode == -signal.SIGKILL
    check_store(sales, {"1.0.0": first, "1.1.0": files})
    sales.run("publish", "sales/t/3.0.0", big)
    sales.run("gc", "sales", "--grace", "0s")
    check_store(sales, {"1.0.0": first, "1.1.0": files})
    needed = {key for db, _ in manifests(sales.store) for key, in db.execute("SELECT key FROM pack")}
    assert {f".mesh/packs/{p.name}" for p in sales.packs()} == needed


def test_interrupt_leaves_nothing(sales):
    sales.run("publish", "sales/t/1.0.0", sales.source({"a": "1"}))
    heads, packs = sales.heads(), sales.packs()
    big = sales.source({f"f{i}": random.Random(i).randbytes(20_000_000) for i in range(8)}, "big")
    process = sales.start("publish", "sales/t/1.1.0", big)
    time.sleep(0.15)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=30)
    if process.returncode == 0:
        pytest.skip("it was done before the signal")
    assert process.returncode == 1 and b"interrupted" in err
    assert sales.heads() == heads and sales.packs() == packs


def test_publishers_at_once(sales):
    sources = [sales.source({"a": f"{i}", "same": "x" * 1000}, f"s{i}") for i in range(5)]
    running = [sales.start("publish", f"sales/p{i}/1.0.0", s) for i, s in enumerate(sources)]
    racing = [sales.start("publish", "sales/race/1.0.0", s) for s in sources[:3]]
    bumping = [sales.start("publish", "sales/bump", s, "--bump", "patch") for s in sources[:3]]
    for process in running + bumping:
        _, err = process.communicate(timeout=120)
        assert process.returncode == 0, err
    for process in racing:
        process.communicate(timeout=120)
    assert sorted(p.returncode for p in racing) == [0, 3, 3]
    winner = next(i for i, p in enumerate(racing) if p.returncode == 0)
    assert read_version(sales.store, "race", "1.0.0")[b"a"][3] == str(winner).encode()
    bumped = {v for _, (_, p, v) in manifests(sales.store) if p == "bump"}
    assert bumped == {"1.0.0", "1.0.1", "1.0.2"}
    sales.run("verify")


def test_gc_beside_publishers(sales):
    """With no grace at all, the hardest case: what a publisher put and not committed yet is condemned under it."""
    stop = threading.Event()
    rng = random.Random(5)
    sources = [sales.source({f"f{k}": rng.randbytes(400_000) for k in range(4)}, f"s{i}") for i in range(3)]
    sales.run("publish", "sales/t/0.0.1", sources[0])
    failures = []

    def collect():
        while not stop.is_set():
            done = sales.run("gc", "sales", "--grace", "0s", check=False)
            if done.returncode:
                failures.append(done.stderr)

    collector = threading.Thread(target=collect)
    collector.start()
    published = {}
    try:
        for i in range(12):
            (sources[i % 3] / "f0").write_bytes(rng.randbytes(1000))
            done = sales.run("publish", f"sales/t/1.{i}.0", sources[i % 3], check=False)
            assert done.returncode == 0 or "gc collected" in done.stderr, done.stderr
            if done.returncode == 0:
                published[f"1.{i}.0"] = {p.name: p.read_bytes() for p in sources[i % 3].iterdir()}
            if i % 3 == 2 and published:
                sales.run("withdraw", f"sales/t/{next(iter(published))}", "--reason", "old")
                del published[next(iter(published))]
    finally:
        stop.set()
        collector.join()
    assert not failures
    assert len(published) >= 4
    check_store(sales, published)


def test_disk_full_in_the_store(tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root to mount a small tmpfs")
    small = Path(tempfile.mkdtemp(prefix="meshfs-small-"))  # not in pytest's folders, which others may clear away
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", small]).returncode:
        small.rmdir()
        pytest.skip("cannot mount a tmpfs")
    try:
        sales = FileMesh(tmp_path / "mesh", store=small)
        first = {"a": b"1" * 1000}
        sales.run("publish", "sales/t/1.0.0", sales.source(first))
        big = sales.source({"big": random.Random(6).randbytes(9_000_000)}, "big")
        done = sales.run("publish", "sales/t/1.1.0", big, status=1)
        assert "space" in done.stderr
        check_store(sales, {"1.0.0": first})
        sales.run("publish", "sales/t/1.1.0", sales.source({"b": "2"}, "small-source"))
    finally:
        subprocess.run(["umount", small])
        small.rmdir()


# -- verify and gc ------------------------------------------------------------------------------

def test_verify_finds_broken_bytes(sales):
    sales.run("publish", "sales/t/1.0.0", sales.source({"a.bin": random.Random(7).randbytes(3_000_000), "dir/b": "x" * 5000}))
    pack, = sales.packs()
    good = pack.read_bytes()
    bad = bytearray(good)
    bad[1_500_000] ^= 1
    pack.write_bytes(bad)
    done = sales.run("verify", "sales/t/1.0.0", status=5)
    assert "sales/t/1.0.0/a.bin chunk " in done.stderr
    lines = sales.json("verify", "sales/t", status=5)
    assert [(l["address"], l["outcome"]) for l in lines] == [("sales/t/1.0.0/a.bin", "broken"), ("sales/t/1.0.0", "broken")]
    sales.run("verify", "sales/t/1.0.0/dir")
    pack.write_bytes(good[:2_000_000])
    assert "shorter" in sales.run("verify", status=5).stderr
    pack.unlink()
    assert "gone" in sales.run("verify", status=5).stderr
    pack.write_bytes(good)
    sales.run("verify")
    manifest, = (sales.store / ".mesh/manifests").glob("*")
    manifest.write_bytes(manifest.read_bytes()[:-1] + b"!")
    assert "manifest" in sales.run("verify", status=5).stderr
    sales.run("verify", "sales/t/2.0.0", status=4)


def test_gc_keeps_what_is_needed(sales):
    rng = random.Random(8)
    shared, own = rng.randbytes(500_000), rng.randbytes(500_000)
    sales.run("publish", "sales/t/1.0.0", sales.source({"own": own}, "one"))
    sales.run("publish", "sales/t/1.1.0", sales.source({"shared": shared}, "two"))
    sales.run("publish", "sales/t/1.2.0", sales.source({"shared": shared, "more": b"m"}, "three"))
    sales.run("withdraw", "sales/t/1.0.0", "--reason", "no")
    sales.run("withdraw", "sales/t/1.1.0", "--reason", "no")
    before = sales.packs()
    summary = sales.json("gc", "sales")[-1]
    assert summary["condemned"] == 0 and sales.packs() == before  # younger than the grace time
    dry = sales.json("gc", "sales", "--grace", "0s", "--dry-run")[-1]
    assert dry["condemned"] >= 3 and sales.packs() == before
    summary = sales.json("gc", "sales", "--grace", "0s")[-1]
    assert summary["deleted"] == dry["condemned"]
    assert len(sales.packs()) == len(before) - 1  # the pack of 1.1.0 holds a chunk of 1.2.0
    assert contents(read_version(sales.store, "t", "1.2.0")) == {"shared": shared, "more": b"m"}
    sales.run("verify")
    # What was deleted is not taken for known.
    sales.run("publish", "sales/t/2.0.0", sales.source({"own": own}, "one"))
    assert contents(read_version(sales.store, "t", "2.0.0")) == {"own": own}
    sales.run("verify")
    sales.run("gc", status=2)
    sales.run("gc", "sales", "--grace", "soon", status=2)


def test_many_small_files_share_packs(sales):
    src = sales.source({f"d{i // 500}/f{i}": f"file {i}" for i in range(5000)})
    result = sales.json("publish", "sales/t/1.0.0", src)[0]
    assert result["files"] == 5000 and len(sales.packs()) == 1
    assert contents(read_version(sales.store, "t", "1.0.0")) == {f"d{i // 500}/f{i}": f"file {i}".encode() for i in range(5000)}
    sales.run("verify")


# -- S3 -----------------------------------------------------------------------------------------

@pytest.fixture
def s3_sales(s3, mesh, request):
    """A domain `sales` on each S3 server, under a prefix of its own."""
    mesh.env.update(s3.env)
    mesh.server = s3
    mesh.prefix = request.node.name.split("[")[0]
    mesh.domain("sales", s3.store(mesh.prefix), endpoint=s3.url)
    return mesh


def keys(mesh, prefix=""):
    bucket = mesh.server.store().split("/")[2]
    pages = mesh.server.client().get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"{mesh.prefix}/{prefix}")
    return sorted(o["Key"] for page in pages for o in page.get("Contents", []))


def test_s3_publish_verify_gc(s3_sales):
    rng = random.Random(9)
    files = {"big.bin": rng.randbytes(40_000_000), "a.csv": "x\n1\n", "sub/empty": ""}
    result = json.loads(s3_sales.publish("sales/t/1.0.0", files, "--json").stdout)
    assert result["files"] == 3 and len(keys(s3_sales, ".mesh/packs/")) == 2
    s3_sales.run("verify")
    again = json.loads(s3_sales.publish("sales/t/1.0.1", {**files, "new": "n"}, "--json").stdout)
    assert again["new_bytes"] == 1
    s3_sales.publish("sales/t/1.0.1", files, status=3)
    s3_sales.run("withdraw", "sales/t/1.0.0", "--reason", "old")
    s3_sales.run("gc", "sales", "--grace", "0s")
    assert len(keys(s3_sales, ".mesh/manifests/")) == 1
    s3_sales.run("verify", "sales/t/1.0.1")


def test_s3_in_place(s3_sales):
    client, bucket = s3_sales.server.client(), s3_sales.server.store().split("/")[2]
    body = b"a,b\n" + b"1,2\n" * 500_000
    client.put_object(Bucket=bucket, Key=f"{s3_sales.prefix}/raw/x.csv", Body=body)
    client.put_object(Bucket=bucket, Key=f"{s3_sales.prefix}/raw/d/y.csv", Body=b"y\n")
    result = json.loads(s3_sales.run("publish", "sales/raw/1.0.0", "raw", "--in-place", "--json").stdout)
    assert result["files"] == 2 and not keys(s3_sales, ".mesh/packs/")
    s3_sales.run("verify")
    client.put_object(Bucket=bucket, Key=f"{s3_sales.prefix}/raw/x.csv", Body=body[::-1])
    assert "sales/raw/1.0.0/x.csv" in s3_sales.run("verify", status=5).stderr


def test_s3_publishers_at_once(s3_sales):
    if not s3_sales.server.honours_exclusive:
        pytest.skip("this server cannot create exclusively: one writer at a time")
    folders = [write_tree(s3_sales.folder / f"s{i}", {"a": str(i)}) for i in range(4)]
    running = [subprocess.Popen([*s3_sales.command(), "publish", "sales/race/1.0.0", str(f)], env=s3_sales.environment(),
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE) for f in folders]
    for process in running:
        process.communicate(timeout=120)
    assert sorted(p.returncode for p in running) == [0, 3, 3, 3]
    s3_sales.run("verify")


def test_s3_wrong_credentials(s3_sales):
    if not s3_sales.server.checks_signatures:
        pytest.skip("this server lets everybody in")
    s3_sales.publish("sales/t/1.0.0", {"a": "1"})
    before = keys(s3_sales)
    done = s3_sales.publish("sales/t/1.1.0", {"a": "2"}, env={"AWS_SECRET_ACCESS_KEY": "not-the-secret"}, status=1)
    assert "not-the-secret" not in done.stderr and keys(s3_sales) == before
    s3_sales.run("verify")
