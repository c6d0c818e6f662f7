"""Policy, end to end: what a reader of a mount gets, and what he can never get."""
import base64
import contextlib
import csv
import errno
import glob
import gzip
import hashlib
import hmac
import io
import json
import mmap
import os
import random
import re
import shutil
import sqlite3
import subprocess
import tempfile
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from canary import Collector, as_user, decoded, leaks  # noqa: E402
from meshkit import Mesh, binary, wait_for  # noqa: E402
from policy_scene import SUBJECT, Scene  # noqa: E402

ENGINE = os.path.exists(os.environ.get("MESHFS_DUCKDB", ""))
NOBODY = 65534


def rules(mesh, text, name="extra"):
    """Replaces a policy file in one step, as an editor does."""
    path = mesh.folder / "policy" / f"{name}.policy"
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.rename(path)


def refused(number, call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == number, caught.value


@pytest.fixture
def open_mesh(unprivileged):
    """A mesh in a folder that everybody can enter: what is closed there is closed by the program.  Stores are closed by their owner."""
    folder = Path(tempfile.mkdtemp(prefix="meshfs-open-"))
    folder.chmod(0o755)
    m = Mesh(folder / "mesh")
    m.folder.chmod(0o755)
    m.domain("d")
    yield m
    m.close()
    shutil.rmtree(folder)


# -- canary ----------------------------------------------------------------------------------------

def close_to_others(mesh):
    for path in [*mesh.folder.glob("source-*"), mesh.folder / "stores"]:
        path.chmod(0o700)


def collect(mesh, mount, program):
    pid = mount.process.pid
    environment = {**mesh.environment(), "HOME": "/nonexistent", "XDG_STATE_HOME": "/nonexistent", "XDG_CACHE_HOME": "/nonexistent",
                   "XDG_RUNTIME_DIR": "/nonexistent"}

    def work():
        c = Collector()
        c.tree(str(mount.path))
        assert any(what.startswith("read ") and "metrics" in what for what in c.found), "the mount cannot be read at all"
        c.searches(str(mount.path), ["common", "table", "t", "d", "zqx", "gone"])
        c.add("statvfs", repr(os.statvfs(mount.path)).encode())
        for top in (mesh.folder, mesh.runtime.name):
            for folder, folders, files in os.walk(top):
                if Path(folder) == mount.path:
                    folders.clear()
                    continue
                for name in files:
                    c.file(os.path.join(folder, name))
        c.open_files(pid)
        c.commands([program, "-m", str(mesh.file)], environment,
                   [["ls"], ["ls", "d"], ["ls", "-R", "d/t0/1.0.0"], ["show", "d"], ["show", "d/t0"], ["show", "--json", "d/t0/1.0.0"], ["search", "common"],
                    ["lineage", "reads"], ["lineage", "runs"], ["policy", "explain", "d/t0"], ["cache", "status"], ["status"], ["doctor"], ["policy", "check"],
                     ["policy", "test"], ["verify", "d/t0"], ["lineage", "up", "d/t0"], ["lineage", "down", "d/t0"], ["lineage", "export", "--format", "json"],
                     ["lineage", "trace", "d/t0", "--where", 'keep == "no"'], ["lineage", "denials"], ["policy", "explain", "d/nest/1.0.0/n.jsonl"]])
        return c.found
    return as_user(NOBODY, NOBODY, work)


def lineage_text(mesh):
    """All that was recorded, as text and as it lies on disk."""
    out = b""
    for path in glob.glob(str(mesh.folder / "**/*"), recursive=True):
        if "/lineage" in path and os.path.isfile(path):
            out += Path(path).read_bytes()
    for path in glob.glob(str(mesh.folder / "**/*.db"), recursive=True):
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            out += "\n".join(db.iterdump()).encode()
    return out


def key_copies(mesh, found):
    """Where the key of the masks is besides its own file: in what was found, and in any file of the mesh, stores, cache and database included."""
    path = mesh.folder / "keys/k1.key"
    secret = path.read_bytes()
    spellings = [secret, secret.hex().encode(), secret.hex().upper().encode(), base64.b64encode(secret)[:-2]]
    files = {str(p): p.read_bytes() for p in mesh.folder.rglob("*") if p.is_file() and not p.is_symlink() and p != path and "mnt" not in p.parts[-2]}
    assert len(secret) == 32 and any("/stores/" in name for name in files)
    return [what for what, data in {**found, **files}.items() if any(s in data for s in spellings)]


@pytest.mark.parametrize("seed", range(int(os.environ.get("MESHFS_CANARY_SEEDS", "3"))))
def test_no_denied_value_is_ever_obtained(open_mesh, seed):
    mesh, scene = open_mesh, Scene(seed, ENGINE)
    mesh.run("policy", "key", "new", "k1")
    scene.visible("t0", mesh)
    scene.visible("t1", mesh)
    scene.parquet("pq", mesh)
    scene.nested("nest", mesh)
    scene.denied("no", mesh)
    scene.hidden(mesh)
    rules(mesh, scene.policy(), "scene")
    mesh.run("policy", "check")
    (mesh.folder / "policy").chmod(0o700)
    close_to_others(mesh)
    program = shutil.copy(binary(), mesh.folder / "program")
    with mesh.mount("--user", str(NOBODY), purpose=SUBJECT, run="r") as m:
        found = collect(mesh, m, program)
        log = m.log().encode()
        status = (b"".join((p.read_bytes() for p in (m.path / ".mesh").iterdir() if p.is_file()))) if os.access(m.path, os.R_OK) else b""
    everything = {**found, "log": log, "status": status, "lineage": lineage_text(mesh)}
    assert not leaks(everything, scene.marker)
    assert not key_copies(mesh, everything)
    for name in (b"fetched_bytes", b"cache_bytes", b"cache_misses"):
        assert name not in b"".join(d for w, d in found.items() if w.startswith("read ") and "/.mesh/" in w)  # counts of the source
    # The proof is worth something only if the rest was read.
    text = b"".join([*found.values(), *decoded(found).values()])
    missing = set(scene.shown) - set(re.findall(r"oky\w{17}v", text.decode(errors="replace")))
    assert scene.shown and not missing, f"{len(missing)} of {len(scene.shown)} allowed values were not served"
    for kind in ("csv", "tsv", "jsonl"):
        assert len([w for w in found if w.startswith("read ") and w.endswith(f"t0/1.0.0/{kind}.{kind}")]) == 1
    outcomes = {r["address"]: r["outcome"] for r in mesh.json("lineage reads", "--run", "r")}
    assert outcomes["d/no/1.0.0/a.csv"] == "denied" and outcomes["d/t0/1.0.0/csv.csv"] == "served"


# -- three purposes, one path ----------------------------------------------------------------------

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
schema:
  - name: people
    physicalName: "people*"
    properties:
      - { name: id, logicalType: integer, classification: public }
      - { name: name, logicalType: string, classification: public }
      - { name: email, logicalType: string, classification: restricted, tags: [pii], examples: [ann@example.org] }
      - { name: age, logicalType: integer, classification: public }
"""
RULES = """policy extra scope mesh version 1

filter adults
  rows row.age >= 18
  when purpose in {training, audit}

drop emails
  columns tagged pii
  when purpose == training

deny not-for-sale
  when purpose == marketing
  reason "not for sale"

hide from-guests
  when purpose == guest

require named-run
  when purpose == audit
  have run
"""
PEOPLE = [{"id": i, "name": f"n{i}", "email": f"u{i}@example.org", "age": i * 7 % 40} for i in range(300)]


def as_lines(rows, names, separator=","):
    return "".join(separator.join(str(v) for v in line) + "\n" for line in [names, *([r[n] for n in names] for r in rows)])


def encode(kind, rows, names):
    import pyarrow
    import pyarrow.parquet
    if kind == "parquet":
        out = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist([{n: r[n] for n in names} for r in rows]), out, row_group_size=64)
        return out.getvalue()
    if kind.startswith("jsonl"):
        data = "".join(json.dumps({n: r[n] for n in names}) + "\n" for r in rows).encode()
    else:
        data = as_lines(rows, names, "\t" if kind == "tsv" else ",").encode()
    if kind.endswith(".gz"):
        return gzip.compress(data)
    if kind.endswith(".zst"):
        return pytest.importorskip("zstandard").ZstdCompressor().compress(data)
    return data


def decode(kind, data):
    """Rows with all values as text: each library has its own idea of types."""
    import pyarrow.parquet
    if kind.endswith(".gz"):
        data = gzip.decompress(data)
    elif kind.endswith(".zst"):
        data = pytest.importorskip("zstandard").ZstdDecompressor().stream_reader(io.BytesIO(data)).read()
    if kind == "parquet":
        rows = pyarrow.parquet.read_table(io.BytesIO(data)).to_pylist()
    elif kind.startswith("jsonl"):
        rows = [json.loads(line) for line in data.decode().splitlines()]
    else:
        rows = list(csv.DictReader(io.StringIO(data.decode()), delimiter="\t" if kind == "tsv" else ","))
    return [{k: "" if v is None else str(v) for k, v in r.items()} for r in rows]


def as_text(rows, names):
    return [{n: "" if r[n] is None else str(r[n]) for n in names} for r in rows]


KINDS = ["csv", "tsv", "jsonl", "csv.gz", "jsonl.zst", "parquet"]
ALL, LESS = ["id", "name", "email", "age"], ["id", "name", "age"]
ADULTS = [r for r in PEOPLE if r["age"] >= 18]


@pytest.fixture
def people(mesh, fuse):
    mesh.domain("d")
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT)
    files = {f"people.{kind}": encode(kind, PEOPLE, ALL) for kind in KINDS}
    mesh.publish("d/people/1.0.0", {**files, "notes.txt": "unclaimed\n"}, "--contract", contract, "--with-failures", "as it is")
    rules(mesh, RULES)
    return mesh


V = "d/people/1.0.0"


def test_one_path_shows_each_purpose_its_own(people):
    with people.mount(purpose="reporting") as whole, people.mount(purpose="training") as part, people.mount(purpose="audit", run="r") as rows:
        for _ in range(2):  # cold and warm, at once
            for kind in KINDS:
                file = f"{V}/people.{kind}"
                assert (whole.path / file).read_bytes() == encode(kind, PEOPLE, ALL) or kind in ("csv.gz", "jsonl.zst", "parquet")
                assert decode(kind, (whole.path / file).read_bytes()) == as_text(PEOPLE, ALL)
                if kind == "parquet" and not ENGINE:
                    refused(errno.EACCES, open, part.path / file)
                    assert os.stat(part.path / file).st_size == 0
                    assert b"engine" in os.getxattr(part.path / file, "user.mesh.policy").lower()
                    continue
                assert decode(kind, (part.path / file).read_bytes()) == as_text(ADULTS, LESS), kind
                assert decode(kind, (rows.path / file).read_bytes()) == as_text(ADULTS, ALL), kind
        refused(errno.EACCES, open, part.path / V / "notes.txt")
        assert (whole.path / V / "notes.txt").read_text() == "unclaimed\n"
        assert "email" in (rows.path / V / ".mesh/contract.yaml").read_text()
        assert "email" not in (part.path / V / ".mesh/contract.yaml").read_text()
        assert "ann@example.org" in (whole.path / V / ".mesh/contract.yaml").read_text()
        assert "ann@example.org" not in (rows.path / V / ".mesh/contract.yaml").read_text()


def test_denied_hidden_and_required(people):
    with people.mount(purpose="marketing") as m:
        file = m.path / V / "people.csv"
        assert sorted(os.listdir(file.parent)) == sorted([f"people.{k}" for k in KINDS] + ["notes.txt"])
        refused(errno.EACCES, open, file)
        assert os.stat(file).st_size == 0
        assert "not for sale" in (file.parent / ".mesh/policy.txt").read_text()
        assert all(line.split(",")[1:] == ["0", ""] for line in (file.parent / ".mesh/manifest.csv").read_text().splitlines()[1:])
        assert "ann@example.org" not in (file.parent / ".mesh/contract.yaml").read_text()
        assert not (file.parent / ".mesh/quality.json").exists()
    with people.mount(purpose="guest") as m:
        assert os.listdir(m.path / "d") == ["README.md"]
        for name in ("d/people", V, f"{V}/people.csv", f"{V}/.mesh", f"{V}/.mesh/policy.txt", "d/people/latest", "d/people/README.md"):
            refused(errno.ENOENT, os.stat, m.path / name)
        assert os.listdir(m.path / ".mesh/search/people") == []
        refused(errno.ENOENT, os.lstat, m.path / ".mesh/search/people/people@d")
    with people.mount(purpose="audit") as m:
        refused(errno.EACCES, open, m.path / V / "people.csv")
        assert "named-run" in (m.path / V / ".mesh/policy.txt").read_text()


# -- bypass ---------------------------------------------------------------------------------------

def test_other_spellings_lead_to_the_same_view(people):
    with people.mount(purpose="training") as m:
        wanted = as_lines(ADULTS, LESS).encode()
        for way in (V, "d/people/latest", "d/people/1", "d/people/1.0", "d//people/./1.0.0", "d/people/../people/1.0.0", f"{V}/.mesh/..",
                    ".mesh/search/people/people@d/latest", "./.mesh/search/people/../../../d/people/latest"):
            assert Path(f"{m.path}/{way}/people.csv").read_bytes() == wanted, way
        for way in ("D/people/1.0.0", "d/People/1.0.0", "d/people/01.0.0", "d/people/1.0.0 ", "d/people/v1.0.0", "d/people/1.0.0.draft"):
            refused(errno.ENOENT, open, f"{m.path}/{way}/people.csv")
        for name in (".mesh/people.csv", ".mesh/source", "people.csv\n", "PEOPLE.csv"):
            refused(errno.ENOENT, open, m.path / V / name)


def read_all_ways(path):
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        yield os.pread(fd, size + (1 << 20), 0)
        with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:
            yield view[:]
        assert os.pread(fd, 4096, size) == b"" and os.lseek(fd, 0, os.SEEK_DATA) == 0 and os.lseek(fd, 0, os.SEEK_HOLE) == size
        refused(errno.ENXIO, os.lseek, fd, size, os.SEEK_DATA)
    finally:
        os.close(fd)
    fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
    try:
        room, out, at = mmap.mmap(-1, 1 << 16), b"", 0
        while n := os.preadv(fd, [room], at):
            out, at = out + room[:n], at + n
        yield out
    finally:
        os.close(fd)


def forked(path, work):
    """work(fd) in a child process that shares our open file."""
    fd = os.open(path, os.O_RDONLY)
    reader, writer = os.pipe()
    pids = []
    for i in range(3):
        pid = os.fork()
        if not pid:
            try:
                os.write(writer, b"+" if work(fd, i) else b"-")
            finally:
                os._exit(0)
        pids.append(pid)
    os.close(writer)
    for pid in pids:
        os.waitpid(pid, 0)
    told = os.read(reader, 16)
    os.close(reader)
    os.close(fd)
    return told


def test_a_large_view_is_the_same_by_every_way_of_reading(mesh, fuse):
    mesh.domain("d")
    rows = [{"id": i, "name": "x" * (i % 90), "email": f"secret{i}@example.org", "age": i * 7 % 40} for i in range(90000)]
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT)
    kinds = ["csv", "jsonl", "csv.gz"]
    mesh.publish("d/people/1.0.0", {f"people.{k}": encode(k, rows, ALL) for k in kinds}, "--contract", contract, "--with-failures", "as it is")
    rules(mesh, RULES)
    wanted = as_text([r for r in rows if r["age"] >= 18], LESS)
    chance = random.Random(5)
    for env in ({}, {"MESHFS_NO_PASSTHROUGH": "1"}):
        with mesh.mount(purpose="training", env=env) as m:
            for kind in kinds:
                path = m.path / V / f"people.{kind}"
                size = os.stat(path).st_size
                data = path.read_bytes()
                assert len(data) == size and decode(kind, data) == wanted
                for other in read_all_ways(path):
                    assert other == data
                fd = os.open(path, os.O_RDONLY)
                for _ in range(60):
                    at, n = chance.choice([chance.randrange(size), (1 << 20) - 3, size - 5, size + 9]), chance.choice([1, 7, 4096, 300000])
                    assert os.pread(fd, n, at) == data[at:at + n]
                os.close(fd)
                assert forked(path, lambda f, i: os.pread(f, 5000, i * 70001) == data[i * 70001:i * 70001 + 5000]) == b"+++"
                published = os.stat(path.parent).st_mtime_ns
                assert os.stat(path).st_mtime_ns == published
            tree = mesh.folder / "copy"
            shutil.rmtree(tree, ignore_errors=True)
            tar = subprocess.run(["tar", "-C", m.path / V, "-cf", mesh.folder / "x.tar", "."], capture_output=True)
            assert tar.returncode == 0 and not tar.stderr
            tree.mkdir()
            subprocess.run(["tar", "-C", tree, "-xf", mesh.folder / "x.tar"], check=True)
            if shutil.which("rsync"):
                done = subprocess.run(["rsync", "-rcni", f"{m.path / V}/", f"{tree}/"], capture_output=True, text=True, check=True)
                assert done.stdout.strip() in ("", ".d..t...... ./"), done.stdout
            for line in (m.path / V / ".mesh/manifest.csv").read_text().splitlines()[1:]:
                name, size, digest = line.split(",")
                assert int(size) == (tree / name).stat().st_size
                with contextlib.suppress(OSError):
                    assert os.getxattr(m.path / V / name, "user.mesh.hash").decode() == digest
                if digest:
                    assert xxh128(tree / name) in (None, digest)


def xxh128(path):
    try:
        import xxhash
    except ImportError:
        return None
    return xxhash.xxh3_128_hexdigest(path.read_bytes())


# -- while mounted ----------------------------------------------------------------------------------

def reads(path):
    try:
        return path.read_bytes()
    except OSError as error:
        return error.errno


@pytest.mark.parametrize("env", [{}, {"MESHFS_NO_PASSTHROUGH": "1"}], ids=["passthrough", "cached"])
def test_another_policy_while_mounted(people, env):
    with people.mount(purpose="training", env=env) as m:
        path = m.path / V / "people.csv"
        before = as_lines(ADULTS, LESS).encode()
        assert path.read_bytes() == before
        held = open(path, "rb", buffering=0)
        rules(people, RULES.replace("row.age >= 18", "row.age >= 30"))
        after = as_lines([r for r in PEOPLE if r["age"] >= 30], LESS).encode()
        wait_for(lambda: reads(path) == after, what="the new view")
        assert os.stat(path).st_size == len(after)
        assert held.read() == before and os.fstat(held.fileno()).st_size == len(before)  # it keeps the view it was opened with
        (people.folder / "policy/extra.policy").write_text("policy extra scope mesh version 3\n\nfilter broken\n  rows row.age >=\n")
        status = m.path / ".mesh/status.json"
        wait_for(lambda: json.loads(status.read_text())["policy_error"], what="the broken policy")
        assert path.read_bytes() == after
        (people.folder / "policy/extra.policy").write_text("")
        wait_for(lambda: "extra.policy" in json.loads(status.read_text())["policy_error"], what="the empty file")
        assert path.read_bytes() == after
        rules(people, RULES.replace('purpose == marketing', 'purpose == training'))
        wait_for(lambda: reads(path) == errno.EACCES, what="the denial")
        assert os.stat(path).st_size == 0
        os.posix_fadvise(held.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        held.seek(0)
        if env:
            refused(errno.ESTALE, os.pread, held.fileno(), 100, 0)
        held.close()
        rules(people, RULES.replace("purpose == guest", "purpose == training"))
        wait_for(lambda: reads(path) == errno.ENOENT, what="hiding")
        for file in (people.folder / "policy").glob("*.policy"):
            file.unlink()
        wait_for(lambda: reads(path) == errno.EACCES, what="no rule at all: denied by default")


def test_reload_under_load(people):
    """Whatever is read while policies alternate is one of the two views, whole."""
    ages = (18, 30)
    views = {as_lines([r for r in PEOPLE if r["age"] >= age], LESS).encode() for age in ages}
    with people.mount(purpose="training", env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        path = m.path / V / "people.csv"
        seen = set()
        for i in range(16):
            rules(people, RULES.replace("row.age >= 18", f"row.age >= {ages[i % 2]}"))
            for _ in range(25):
                data = reads(path)
                assert data in views, data if isinstance(data, int) else len(data)
                seen.add(data)
        assert seen == views


# -- unknown tightens -------------------------------------------------------------------------------

def test_unknown_tightens(mesh, fuse):
    mesh.domain("d")
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT.replace('physicalName: "people*"', 'physicalName: "*.csv"'))
    mesh.publish("d/people/1.0.0", {
        "people.csv": "id,name,email,age\n1,a,x,20\n2,b,x,\n3,c,x,old\n4,d,x,30,99\n5,e\n6,f,x,40\n7,\"g,x,50\n",
        "extra.csv": "id,name,email,age,more\n1,a,x,20,secret-more\n", "other.jsonl": '{"age": 20}\n', "blob.bin": "x"}, "--contract", contract, "--with-failures", "rows are odd")
    rules(mesh, RULES)
    with mesh.mount(purpose="training") as m:
        assert (m.path / V / "people.csv").read_text() == "id,name,age\n1,a,20\n6,f,40\n"
        assert "secret-more" not in (m.path / V / "extra.csv").read_text()  # a column that no contract names matches every clause
        for name in ("other.jsonl", "blob.bin"):  # no object claims them
            refused(errno.EACCES, open, m.path / V / name)
    with mesh.mount() as m:  # without a purpose every rule that asks for one may hold
        refused(errno.ENOENT, os.stat, m.path / V)
    rules(mesh, "policy extra scope mesh version 2\n\ndeny late\n  when now >= 2020-01-01\n")
    with mesh.mount() as m:
        refused(errno.EACCES, open, m.path / V / "people.csv")
    rules(mesh, "policy extra scope mesh version 3\n\nmask mails\n  columns tagged pii\n  with hmac key nosuchkey\n")
    (mesh.folder / "no").mkdir()
    assert "nosuchkey" in mesh.run("mount", str(mesh.folder / "no"), status=2).stderr


@pytest.mark.parametrize("condition, shown", [
    ("row.age >= 18", {"right", "large"}), ("not row.age < 18", {"right", "large"}), ("row.age != 17", {"right", "large"}), ("row.age is null", {"null", "missing"}),
    ("row.age is not null", {"right", "small", "large"}), ("row.age >= 18 or row.age is null", {"right", "large", "null", "missing"}),
    ("row.age not in {17, 99}", {"right", "large"}), ("not (row.age >= 18 and row.name == x)", {"right", "large", "small", "null", "missing", "text", "list", "true"})])
def test_what_is_unknown_is_not_shown_in_any_format(mesh, fuse, condition, shown):
    """A null, a member that is not there, a value of another type: of `or` and `and` with them, what three-valued logic says."""
    import pyarrow
    import pyarrow.parquet
    mesh.domain("d")
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT)
    values = {"right": 20, "small": 17, "large": 1e2, "null": None, "text": "20 years", "list": [20], "true": True}
    lines = [json.dumps({"id": i, "name": name, "email": "x", "age": v}) for i, (name, v) in enumerate(values.items())] + ['{"id": 9, "name": "missing", "email": "x"}']
    text = "id,name,email,age\n" + "".join(f"{i},{name},x,{'' if v is None else v}\n" for i, (name, v) in enumerate(values.items()) if name not in ("list",))
    plain = {n: v for n, v in values.items() if v is None or type(v) in (int, float)}
    out = io.BytesIO()
    pyarrow.parquet.write_table(pyarrow.table({"id": list(range(len(plain))), "name": list(plain), "email": ["x"] * len(plain),
                                               "age": [None if v is None else int(v) for v in plain.values()]}), out)
    files = {"people.csv": text, "people.csv.gz": gzip.compress(text.encode()), "people.jsonl": "\n".join(lines) + "\n"} | ({"people.parquet": out.getvalue()} if ENGINE else {})
    mesh.publish("d/people/1.0.0", files, "--contract", contract, "--with-failures", "as it is")
    rules(mesh, f"policy extra scope mesh version 1\n\nfilter f\n  rows {condition}\n")
    with mesh.mount() as m:
        for name in files:
            kind = name.split(".", 1)[1]
            there = {"list", "missing"} if kind.startswith("csv") else set() if kind == "jsonl" else set(values) - set(plain) | {"missing"}
            assert {row["name"] for row in decode(kind, (m.path / V / name).read_bytes())} == shown - there, (name, condition)


NESTED = """apiVersion: v3.1.0
kind: DataContract
id: n
name: n
version: 1.0.0
status: active
schema:
  - name: n
    properties:
      - { name: id, logicalType: integer, classification: public }
      - { name: note, logicalType: string, classification: public }
      - { name: code, logicalType: string, classification: restricted }
      - name: place
        logicalType: object
        classification: public
        properties: [ { name: area, logicalType: string, classification: restricted } ]
"""


def test_parquet_columns_that_are_not_what_the_contract_says(mesh, fuse):
    import pyarrow
    import pyarrow.parquet

    def table(**columns):
        out = io.BytesIO()
        pyarrow.parquet.write_table(pyarrow.table(columns), out)
        return out.getvalue()

    mesh.domain("d")
    contract = mesh.folder / "n.yaml"
    contract.write_text(NESTED)
    mesh.publish("d/n/1.0.0", {"flat.parquet": table(id=[1], note=["x"], place=["secret"]),
                               "case.parquet": table(id=[1], Note=["secret"], note=["x"], code=["y"])}, "--contract", contract,
                 "--with-failures", "as it is")
    for rule in ("drop r\n  columns classified restricted\n", "mask r\n  columns classified restricted\n  with redact\n"):
        rules(mesh, "policy extra scope mesh version 1\n\n" + rule)
        with mesh.mount() as m:
            flat = pyarrow.parquet.read_table(io.BytesIO((m.path / "d/n/1.0.0/flat.parquet").read_bytes())).to_pydict()
            assert flat == {"id": [1], "note": ["x"], "place": [None]}  # a text may hold what stands in the members of a place
            if rule.startswith("mask"):  # the engine takes Note for note
                refused(errno.EACCES, open, m.path / "d/n/1.0.0/case.parquet")
                continue
            case = pyarrow.parquet.read_table(io.BytesIO((m.path / "d/n/1.0.0/case.parquet").read_bytes())).to_pydict()
            assert case == {"id": [1], "note": ["x"]}


def test_policy_txt_says_why_a_file_was_refused(mesh, fuse):
    """What makes a view impossible is known only once it was tried."""
    mesh.domain("d")
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT.replace('    physicalName: "people*"\n', ""))
    mesh.publish("d/people/1.0.0", {"bad.csv": "1,2,3\n", "x.parquet": "PAR1 nonsense PAR1", "licence.txt": "free\n", "p.jsonl.gz": "no gzip", "odd\nname.csv": "7\n",
                                    "good.csv": "id,email\n1,secretmail\n", "private/y.csv": "id\n1\n"}, "--contract", contract, "--with-failures", "as it is")
    rules(mesh, RULES + '\ndeny closed\n  files d/people/*/private/**\n  reason "ask the board"\n')
    with mesh.mount(purpose="training") as m:
        told = m.path / V / ".mesh/policy.txt"
        assert "Refused" not in told.read_text()
        for name in ("bad.csv", "x.parquet", "licence.txt", "p.jsonl.gz", "odd\nname.csv", "private/y.csv"):
            refused(errno.EACCES, open, m.path / V / name)
            refused(errno.EACCES, open, m.path / V / name)
        text = told.read_text()
        assert os.stat(told).st_size == len(text.encode())
        for line in ("bad.csv: it cannot be filtered: the first record names none of the contract's columns", "x.parquet: it cannot be filtered: ",
                     "licence.txt: rows or columns of it are restricted", "p.jsonl.gz: it cannot be filtered: not well-formed gzip",
                     "private/y.csv: denied by the rule extra/closed: ask the board"):
            assert text.count("\n  " + line) == 1, (line, text)
        assert "odd\nname" not in text and "secretmail" not in text and "good.csv" not in text


# -- partly served versions -------------------------------------------------------------------------

def test_a_partly_served_version_tells_nothing_of_the_rest(mesh, fuse):
    mesh.domain("d")
    mesh.publish("d/mix/1.0.0", {"a.txt": "open", "private/deep/b.txt": "denied" * 999, "hidden/deep/er/c.txt": "gone"})
    for verb in ("deny", "permit"):
        hide = "hide h\n  files d/mix/*/hidden/**\n"
        if verb == "deny":
            rules(mesh, f"policy extra scope mesh version 1\n\ndeny p\n  files d/mix/*/private/**\n\n{hide}")
        else:
            rules(mesh, f"policy extra scope mesh version 1\n\n{hide}")
            rules(mesh, "policy d scope domain d version 1\n\npermit some\n  files d/mix/*/a.txt\n", "d")
        with mesh.mount(purpose="x") as m:
            v = m.path / "d/mix/1.0.0"
            assert (v / "a.txt").read_text() == "open"
            denied = v / "private/deep/b.txt"
            assert os.listdir(denied.parent) == ["b.txt"] and os.stat(denied).st_size == 0
            refused(errno.EACCES, open, denied)
            assert "5994" not in (v / ".mesh/manifest.csv").read_text() and "c.txt" not in (v / ".mesh/manifest.csv").read_text()
            assert "hidden" not in os.listdir(v)
            refused(errno.ENOENT, os.stat, v / "hidden")
            refused(errno.ENOENT, os.stat, v / "hidden/deep/er/c.txt")
            assert "KiB" not in (v.parent / "README.md").read_text()


def test_the_contract_does_not_name_hidden_files(mesh, fuse):
    mesh.domain("d")
    contract = mesh.folder / "c.yaml"
    objects = {"open": ("open.csv", "id"), "one": ("hid-one.csv", "column_one"), "two": ("private/*.csv", "column_two")}
    contract.write_text("apiVersion: v3.1.0\nkind: DataContract\nid: h\nname: h\nversion: 1.0.0\nstatus: active\nschema:\n" + "".join(
        f"  - name: object-{n}\n    physicalName: {files}\n    properties: [ {{ name: {column}, logicalType: integer, classification: public }} ]\n"
        for n, (files, column) in objects.items()))
    mesh.publish("d/h/1.0.0", {"open.csv": "id\n1\n", "hid-one.csv": "column_one\n1\n", "private/a.csv": "column_two\n1\n"}, "--contract", contract)
    rules(mesh, "policy extra scope mesh version 1\n\nhide h\n  files d/h/*/hid*, d/h/*/private/**\n")
    with mesh.mount() as m:
        v = m.path / "d/h/1.0.0"
        for told in (v / ".mesh/contract.yaml", v.parent / "contract.yaml", v.parent / "README.md", v / ".mesh/croissant.json", v / ".mesh/policy.txt"):
            text = told.read_text()
            assert not [w for w in ("hid-one", "private", "column_", "object-one", "object-two") if w in text], (told, text)
        assert "object-open" in (v / ".mesh/contract.yaml").read_text()


def test_what_is_left_out_cannot_be_searched_for(open_mesh):
    mesh = open_mesh
    contract = mesh.folder / "c.yaml"
    text = ("apiVersion: v3.1.0\nkind: DataContract\nid: s\nname: {title}\nversion: 1.0.0\nstatus: active\ndescription: {{ purpose: {about} }}\n"
            "schema:\n  - name: t\n    properties:\n      - {{ name: shown, logicalType: string, classification: public }}\n"
            "      - {{ name: hushname, businessName: hushbusiness, logicalType: string, classification: restricted, tags: [secret, hushtag] }}\n")
    for version, title in (("1.0.0", "oldtitle"), ("2.0.0", "newtitle")):
        contract.write_text(text.format(title=title, about=title.replace("title", "about")))
        mesh.publish(f"d/s/{version}", {"a.csv": f"shown,hushname\n{version},y\n"}, "--contract", contract)
    contract.unlink()
    rules(mesh, "policy extra scope mesh version 1\n\nhide new\n  files d/s/2.0.0/**\n  unless purpose == all\n\n"
                "drop c\n  columns tagged secret\n  unless purpose == all\n")
    close_to_others(mesh)
    with mesh.mount("--user", str(NOBODY), purpose="x") as m, mesh.mount(purpose="all") as whole:
        def found(path):
            return {w for w in ("shown", "hushname", "hushbusiness", "hushtag", "oldtitle", "oldabout", "newtitle", "newabout")
                    if os.listdir(path / ".mesh/search" / w)}
        told = as_user(NOBODY, NOBODY, lambda: (found(m.path), [(m.path / p).read_text() for p in ("README.md", "d/README.md", "d/s/README.md")]))
        assert found(whole.path) == {"shown", "hushname", "hushbusiness", "hushtag", "newtitle", "newabout"}
    assert told[0] <= {"shown", "oldtitle", "oldabout"}  # the words of an old version find nothing: the catalog's index is of the newest
    assert "shown" in told[0] and not [t for t in told[1] if "newtitle" in t or "newabout" in t]
    assert "oldtitle" in told[1][1] and "# oldtitle" in told[1][2]


def test_a_denied_symlink_does_not_say_where_it_points(mesh, fuse):
    mesh.domain("d")
    source = mesh.folder / "source"
    (source / "private").mkdir(parents=True)
    (source / "a.csv").write_text("id\n1\n")
    for name in ("open", "private/closed"):
        os.symlink("somewhere-else.csv", source / name)
    mesh.publish("d/links/1.0.0", source)
    rules(mesh, "policy extra scope mesh version 1\n\ndeny p\n  files d/links/*/private/**\n\nfilter r\n  rows row.id > 1\n")
    with mesh.mount() as m:
        v = m.path / "d/links/1.0.0"
        assert os.readlink(v / "open") == "somewhere-else.csv"  # rules for rows do not concern it
        refused(errno.EACCES, os.readlink, v / "private/closed")
        assert os.lstat(v / "private/closed").st_size == 0


def test_numbers_do_not_count_what_is_hidden(open_mesh):
    """Inode numbers, offsets and times of folders, and generations: the same with and without hidden neighbours, as far as anyone can tell."""
    mesh = open_mesh
    mesh.publish("d/p/1.0.0", {"a.csv": "id\n1\n"} | {f"hid/{i}.csv": f"id\n{i}\n" for i in range(50)} | {"z.csv": "id\n1\n"})
    mesh.publish("d/p/1.1.0", {"a.csv": "id\n2\n"})
    rules(mesh, "policy extra scope mesh version 1\n\nhide h\n  files d/p/*/hid/**, d/p/1.1.0/**\n")
    with mesh.mount("--user", str(NOBODY)) as m:
        def work():
            v = m.path / "d/p/1.0.0"
            listed = {e.name: e.inode() for e in os.scandir(v)}
            assert listed == {name: os.stat(v / name).st_ino for name in ("a.csv", "z.csv")}
            times = {os.stat(p).st_mtime for p in (m.path, m.path / "d", m.path / "d/p")}
            return sorted(listed.values()), times, (m.path / ".mesh/status.json").read_text()
        inodes, times, status = as_user(NOBODY, NOBODY, work)
    assert min(inodes[1] - inodes[0], inodes[0]) > 1 << 30
    assert len(times) == 1 and "generation" not in status and "modified" not in status


# -- oracle ---------------------------------------------------------------------------------------

FILTERS = [
    ("row.age >= {n}", lambda r, n: r["age"] is not None and r["age"] >= n),
    ("row.age != {n}", lambda r, n: r["age"] is not None and r["age"] != n),
    ("row.age is null", lambda r, n: r["age"] is None),
    ("row.age is null or row.age < {n}", lambda r, n: r["age"] is None or r["age"] < n),
    ("not row.age > {n}", lambda r, n: r["age"] is not None and not r["age"] > n),
    ('row.name in {{"n1", "n{n}", "n7"}}', lambda r, n: r["name"] in ("n1", f"n{n}", "n7")),
    ('row.name like "n{n}*" or row.age == {n}', lambda r, n: r["name"].startswith(f"n{n}") or r["age"] == n),
    ('row.name like "n1*" and row.age < {n}', lambda r, n: r["name"].startswith("n1") and r["age"] is not None and r["age"] < n),
]
MASKED = [
    ("null", lambda v: ""),
    ("redact keep length", lambda v: len(v)),
    ("partial first 2", lambda v: v[:2]),
    ("partial last 3", lambda v: v[-3:]),
    ("hmac key k1", None),
]


def matches(mask, expected, got, raw, key):
    """The value of a masked column; what a constant is made of is the program's to choose, how much of the raw value shows is not."""
    if mask == "null":
        return got == ""
    if mask == "redact keep length":
        return len(got) == expected and not set(raw) & set(got)
    if mask.startswith("hmac"):
        return got == hmac.new(key, raw.encode(), hashlib.sha256).hexdigest()[:32]
    n = len(expected)
    return (got[:n] if "first" in mask else got[-n:]) == expected and raw not in got


@pytest.mark.parametrize("seed", range(int(os.environ.get("MESHFS_ORACLE_SEEDS", "2"))))
def test_a_view_is_what_an_independent_computation_gives(mesh, fuse, seed):
    chance = random.Random(seed)
    mesh.domain("d")
    mesh.run("policy", "key", "new", "k1")
    key = next(mesh.folder.glob("keys/k1*")).read_bytes()
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT)
    kinds = ["csv", "jsonl"] + (["parquet"] if ENGINE else [])
    text, cases = "policy extra scope mesh version 1\n", []
    for case in range(10):
        rows = [{"id": i, "name": f"n{chance.randrange(30)}", "email": f"u{chance.randrange(99)}@ex{i}.org",
                 "age": None if chance.random() < 0.1 else chance.randrange(40)} for i in range(chance.choice([1, 20, 3000]))]
        as_csv = [{**r, "age": "" if r["age"] is None else r["age"]} for r in rows]
        order = chance.sample(ALL, 4)
        files = {f"people.{k}": encode(k, as_csv if k == "csv" else rows, order) for k in kinds}
        mesh.publish(f"d/p{case}/1.0.0", files, "--contract", contract, "--with-failures", "random")
        chosen = [(*chance.choice(FILTERS), chance.randrange(40)) for _ in range(chance.choice([1, 2]))]
        mask, expected = chance.choice(MASKED)
        drop = chance.random() < 0.4
        for i, (condition, _, n) in enumerate(chosen):
            text += f"\nfilter f{case}-{i}\n  files d/p{case}/**\n  rows {condition.format(n=n)}\n"
        text += f"\nmask m{case}\n  files d/p{case}/**\n  columns named email\n  with {mask}\n"
        if drop:  # the strictest wins
            text += f"\ndrop d{case}\n  files d/p{case}/**\n  columns tagged pii\n"
        cases.append((rows, order, chosen, mask, expected, drop))
    rules(mesh, text)
    with mesh.mount() as m:
        for case, (rows, order, chosen, mask, expected, drop) in enumerate(cases):
            left = [r for r in rows if all(test(r, n) for _, test, n in chosen)]
            names = [n for n in order if not (drop and n == "email")]
            for kind in kinds:
                where = (case, kind, mask, drop, [c[0].format(n=c[2]) for c in chosen])
                path = m.path / f"d/p{case}/1.0.0/people.{kind}"
                data = path.read_bytes()
                assert len(data) == os.stat(path).st_size
                got = decode(kind, data)
                assert len(got) == len(left), where
                plain = [n for n in names if n != "email"]
                assert [{n: g[n] for n in plain} for g in got] == as_text(left, plain), where
                assert all(list(g) == names for g in got), where
                for g, r in zip(got, left) if not drop else ():
                    value = r["email"]
                    assert matches(mask, expected and expected(value), g["email"], value, key), (where, g["email"], value)


# -- commands ---------------------------------------------------------------------------------------

def test_commands_obey_the_policy_of_who_does_not_hold_the_mesh(open_mesh):
    mesh = open_mesh
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT.replace('    physicalName: "people*"\n', ""))
    table = as_lines(PEOPLE, ALL)
    for product in ("open", "part", "denied", "hidden"):
        mesh.publish(f"d/{product}/1.0.0", {"people.csv": table, "secret/people.csv": table}, "--contract", contract)
    mesh.publish("d/open/2.0.0", {"people.csv": table + "900,x,y,1\n"}, "--contract", contract)
    rules(mesh, "policy extra scope mesh version 1\n\nhide h\n  files d/hidden/**, d/open/2.0.0/**, d/part/*/secret/**\n\ndeny n\n  files d/denied/**\n\n"
                "drop emails\n  files d/part/**\n  columns named email\n")
    program = shutil.copy(binary(), mesh.folder / "program")
    home = mesh.folder / "other"
    home.mkdir()
    os.chown(home, NOBODY, NOBODY)
    for folder, folders, files in os.walk(mesh.folder / "stores"):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)
    environment = {**mesh.environment(), "HOME": str(home), "XDG_STATE_HOME": f"{home}/state", "XDG_CACHE_HOME": f"{home}/cache", "XDG_RUNTIME_DIR": f"{home}/run"}

    def run(*words):
        done = as_user(NOBODY, NOBODY, lambda: subprocess.run([program, "-m", str(mesh.file), *words], capture_output=True, text=True, env=environment,
                                                              cwd="/", stdin=subprocess.DEVNULL, timeout=60))
        return done.returncode, done.stdout, done.stderr

    def lines(*words):
        code, out, err = run(*words, "--json")
        assert code == 0, err
        return [json.loads(line) for line in out.splitlines()]

    assert {r["address"]: r["size"] for r in lines("ls", "d")} == {"d/open": 2 * len(table), "d/part": None, "d/denied": None}
    assert [r["address"] for r in lines("ls", "d/open")] == ["d/open/1.0.0"]
    assert {r["address"]: r["size"] for r in lines("ls", "-R", "d/part/latest") if r["kind"] == "file"} == {"d/part/1.0.0/people.csv": None}
    assert {r["size"] for r in lines("ls", "-R", "d/denied/1.0.0") if r["kind"] == "file"} == {0}
    assert {r["address"] for r in lines("search", "people")} == {"d/open", "d/part", "d/denied"}
    (shown,) = lines("show", "d/part/1.0.0")
    assert "email" not in [c["name"] for c in shown["columns"]] and "bytes" not in shown and "quality" not in shown
    (shown,) = lines("show", "d/open")
    assert shown["latest"] == "1.0.0" and [v["version"] for v in shown["versions"]] == ["1.0.0"]
    (shown,) = lines("show", "d/open/latest")
    assert shown["address"] == "d/open/1.0.0"
    for words in (["show", "d/hidden"], ["ls", "d/hidden"], ["show", "d/open/2.0.0"], ["policy", "explain", "d/hidden"], ["show", "d/part/1.0.0/secret/people.csv"]):
        code, out, err = run(*words)
        assert code == 4 and not out, (words, out, err)
    assert "hidden" not in run("show", "d/hiddem")[2].replace("hiddem", "")
    checked = run("policy", "check")
    assert checked[0] == 0 and "hidden" not in checked[2] and "2.0.0" not in checked[2], checked
    # Who holds the mesh sees all of it.
    assert {r["address"] for r in mesh.json("ls", "d")} == {"d/open", "d/part", "d/denied", "d/hidden"}
