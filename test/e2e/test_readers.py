"""Programs and libraries that know nothing of meshfs read through it: tables, arrays, loaders, archivers, many processes; and versions
of very many files."""
import json
import mmap
import os
import random
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

ROWS = 40000


def table():
    rng = random.Random(2)
    return [(i, rng.choice(["oak", "elm", "fir"]), rng.randrange(1000) / 8) for i in range(ROWS)]


@pytest.fixture(scope="module")
def rows():
    return table()


@pytest.fixture(params=["passthrough", "cached"])
def mode(request):
    if request.param == "passthrough" and os.geteuid() != 0:
        pytest.skip("passthrough needs root")
    return {} if request.param == "passthrough" else {"MESHFS_NO_PASSTHROUGH": "1"}


@pytest.fixture
def trees(mesh, fuse, rows, mode):
    """A version with one table in three formats and an array, mounted."""
    pa = pytest.importorskip("pyarrow")
    import numpy
    import pyarrow.parquet
    folder = mesh.folder / "trees"
    folder.mkdir()
    with open(folder / "t.csv", "w") as f:
        f.write("id,kind,height\n" + "".join(f"{i},{k},{h}\n" for i, k, h in rows))
    with open(folder / "t.jsonl", "w") as f:
        f.writelines(json.dumps({"id": i, "kind": k, "height": h}) + "\n" for i, k, h in rows)
    ids, kinds, heights = zip(*rows)
    pa.parquet.write_table(pa.table({"id": ids, "kind": kinds, "height": heights}), folder / "t.parquet", row_group_size=7000)
    numpy.save(folder / "a.npy", numpy.arange(600_000, dtype="float64"))
    mesh.domain("d")
    mesh.publish("d/trees/1.0.0", folder)
    with mesh.mount(env=mode) as m:
        m.trees, m.source = m.path / "d/trees/latest", folder
        yield m


def summary(rows):
    out = {}
    for _, kind, height in rows:
        n, total = out.get(kind, (0, 0.0))
        out[kind] = (n + 1, total + height)
    return out


def test_pandas_reads_all_formats(trees, rows):
    pandas = pytest.importorskip("pandas")
    for read, name in ((pandas.read_csv, "t.csv"), (pandas.read_parquet, "t.parquet"),
                       (lambda p: pandas.read_json(p, lines=True), "t.jsonl")):
        t = read(trees.trees / name).groupby("kind").height.agg(["count", "sum"])
        assert {k: (int(r["count"]), float(r["sum"])) for k, r in t.iterrows()} == summary(rows), name


def test_pyarrow_reads_all_formats(trees, rows):
    ds = pytest.importorskip("pyarrow.dataset")
    for form, name in (("csv", "t.csv"), ("parquet", "t.parquet"), ("json", "t.jsonl")):
        t = ds.dataset(str(trees.trees / name), format=form).to_table(columns=["kind", "height"]).group_by("kind").aggregate(
            [("height", "count"), ("height", "sum")])
        got = {r["kind"]: (r["height_count"], r["height_sum"]) for r in t.to_pylist()}
        assert got == summary(rows), name
    part = ds.dataset(str(trees.trees / "t.parquet")).to_table(filter=ds.field("id") >= ROWS - 3)
    assert part.column("id").to_pylist() == [ROWS - 3, ROWS - 2, ROWS - 1]


def test_duckdb_reads_all_formats(trees, rows):
    duckdb = pytest.importorskip("duckdb")
    for name in ("t.csv", "t.parquet", "t.jsonl"):
        try:
            got = duckdb.sql(f"SELECT kind, count(*), sum(height) FROM '{trees.trees / name}' GROUP BY kind").fetchall()
        except duckdb.Error as e:
            if name != "t.jsonl" or "extension" not in str(e).lower():
                raise
            continue  # its JSON reader is an extension that it may have to download
        assert {k: (n, s) for k, n, s in got} == summary(rows), name


def test_polars_reads_all_formats(trees, rows):
    pl = pytest.importorskip("polars")
    for scan, name in ((pl.scan_csv, "t.csv"), (pl.scan_parquet, "t.parquet"), (pl.scan_ndjson, "t.jsonl")):
        t = scan(trees.trees / name).group_by("kind").agg(pl.col("height").count().alias("n"), pl.col("height").sum().alias("s")).collect()
        assert {r["kind"]: (r["n"], r["s"]) for r in t.to_dicts()} == summary(rows), name


def test_arrays_are_mapped(trees):
    numpy = pytest.importorskip("numpy")
    array = numpy.load(trees.trees / "a.npy", mmap_mode="r")
    at = numpy.random.default_rng(1).integers(0, 600_000, 3000)
    assert (array[at] == at).all() and float(array.sum()) == 600_000 * 599_999 / 2
    with open(trees.trees / "a.npy", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mapped:
        assert mapped[-8:] == (trees.source / "a.npy").read_bytes()[-8:]
        with pytest.raises(PermissionError):
            mmap.mmap(f.fileno(), 0, flags=mmap.MAP_SHARED, prot=mmap.PROT_WRITE)
    del array  # a mapping keeps the mount busy


def test_tar_rsync_and_diff_agree(trees, tmp_path):
    packed = subprocess.run(["tar", "-C", f"{trees.trees}/", "-cf", "-", "."], capture_output=True, check=True)
    assert packed.stderr == b""
    (tmp_path / "tar").mkdir()
    subprocess.run(["tar", "-C", tmp_path / "tar", "-xf", "-"], input=packed.stdout, check=True)
    subprocess.run(["diff", "-r", trees.source, tmp_path / "tar"], check=True)
    if shutil.which("rsync"):
        subprocess.run(["rsync", "-a", f"{trees.trees}/", tmp_path / "rs/"], check=True)
        again = subprocess.run(["rsync", "-rcni", f"{trees.source}/", tmp_path / "rs/"], capture_output=True, check=True, text=True)
        assert not [line for line in again.stdout.splitlines() if line.startswith(">f")]
        times = subprocess.run(["rsync", "-ani", f"{trees.trees}/", tmp_path / "rs/"], capture_output=True, check=True, text=True)
        assert not times.stdout.strip()


LOADER = """
import sys, hashlib, os
import torch
from torch.utils.data import Dataset, DataLoader

class Files(Dataset):
    def __init__(self, root):
        self.paths = sorted(os.path.join(d, f) for d, _, names in os.walk(root) for f in names)
    def __len__(self):
        return len(self.paths)
    def __getitem__(self, i):
        with open(self.paths[i], "rb") as f:
            return torch.frombuffer(bytearray(f.read()), dtype=torch.uint8).sum(), i

seen = {}
for epoch in range(2):
    for total, i in DataLoader(Files(sys.argv[1]), batch_size=16, num_workers=4, shuffle=True, multiprocessing_context="fork"):
        for t, k in zip(total.tolist(), i.tolist()):
            assert seen.setdefault(k, t) == t
print(len(seen), sum(seen.values()))
"""


def python_with_torch():
    for python in (sys.executable, "/usr/bin/python3"):
        if os.path.exists(python) and subprocess.run([python, "-c", "import torch"], capture_output=True).returncode == 0:
            return python
    pytest.skip("torch is not installed (python3-torch)")


def test_a_torch_loader_with_forked_workers(mesh, fuse):
    python = python_with_torch()
    rng = random.Random(4)
    files = {f"c{i % 7}/{i:04}.bin": rng.randbytes(rng.randrange(1, 30000)) for i in range(400)}
    mesh.domain("d")
    mesh.publish("d/images/1.0.0", files)
    command = f'exec {python} -c "$0" "$MESHFS_MOUNT/d/images/1.0.0"'
    out = mesh.run("run", "--purpose", "training", "--name", "train", "--", "sh", "-c", command, LOADER)
    assert out.stdout.split() == [str(len(files)), str(sum(sum(c) for c in files.values()))]
    reads = mesh.json("lineage reads", "--run", "train")
    assert len(reads) == len(files) and all(r["opens"] == 2 for r in reads)


# -- many files ---------------------------------------------------------------------------------------

def small_files(folder, count):
    """`count` files of some 100 bytes, 1,000 a folder; the content follows from the name."""
    for start in range(0, count, 1000):
        sub = Path(folder) / f"{start // 1000:04}"
        sub.mkdir(parents=True)
        for i in range(start, min(start + 1000, count)):
            fd = os.open(sub / f"{i:07}", os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(fd, content(i))
            os.close(fd)
    return folder


def content(i):
    return b"%d " % i * 12


def read_share(root, names):
    return [i for i in names if open(f"{root}/{i // 1000:04}/{i:07}", "rb").read() != content(i)]


def rss_mib(pid):
    return int(re.search(r"VmRSS:\s+(\d+)", Path(f"/proc/{pid}/status").read_text())[1]) / 1024


def test_20000_small_files_and_8_processes(mesh, fuse):
    count = 20_000
    mesh.domain("d")
    mesh.publish("d/small/1.0.0", small_files(mesh.folder / "small", count))
    with mesh.mount() as m:
        root = m.path / "d/small/1.0.0"
        names = list(range(count))
        random.Random(1).shuffle(names)
        with ProcessPoolExecutor(8) as pool:
            wrong = sum(pool.map(read_share, [root] * 8, [names[i::8] for i in range(8)]), [])
        assert not wrong
        found = subprocess.run(["find", root, "-type", "f", "-size", "-2k"], capture_output=True, check=True).stdout.count(b"\n")
        assert found == count
        status = json.loads((m.path / ".mesh/status.json").read_text())
        assert rss_mib(status["pid"]) < 200 or "asan" in os.environ.get("MESHFS_BIN", "")


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("count", [50_000, 1_000_000])
def test_a_version_of_very_many_files(mesh, fuse, count):
    """MESHFS_TEST_MILLION=FOLDER: also a million, whose sources and store lie in FOLDER (4 GiB; a tmpfs will do)."""
    where = mesh.folder
    if count > 100_000:
        if not os.environ.get("MESHFS_TEST_MILLION"):
            pytest.skip("a million files: set MESHFS_TEST_MILLION to a folder with 4 GiB of room")
        where = Path(os.environ["MESHFS_TEST_MILLION"]) / f"meshfs-million-{os.getpid()}"
    try:
        mesh.domain("d", (where / "store").as_uri())
        start = time.monotonic()
        mesh.publish("d/many/1.0.0", small_files(where / "source", count), timeout=3000)
        published = time.monotonic() - start
        with mesh.mount() as m:  # brings the manifest
            assert len(os.listdir(m.path / "d/many/1.0.0")) == count // 1000
        start = time.monotonic()
        with mesh.mount() as m:
            assert len(os.listdir(m.path / "d/many/1.0.0")) == count // 1000
            first = time.monotonic() - start
            pid = json.loads((m.path / ".mesh/status.json").read_text())["pid"]
            start = time.monotonic()
            found = subprocess.run(["find", m.path / "d/many/1.0.0", "-type", "f"], capture_output=True, check=True).stdout.count(b"\n")
            walked, rss = time.monotonic() - start, rss_mib(pid)
            assert found == count
            for i in random.Random(3).sample(range(count), 300):
                assert (m.path / f"d/many/1.0.0/{i // 1000:04}/{i:07}").read_bytes() == content(i)
        print(f"{count} files: publish {published:.1f} s, mount and first ls {first:.2f} s, find {walked:.1f} s, then {rss:.0f} MiB")
        if "asan" not in os.environ.get("MESHFS_BIN", ""):
            assert rss < 200
            assert first < 5  # no benchmark: that nothing grows with the number of files
    finally:
        if where != mesh.folder:
            shutil.rmtree(where, ignore_errors=True)
