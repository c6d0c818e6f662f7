"""Bad input and faults, met by a mount: the errno of the manual, a log line that says what to do, no wrong byte, nothing lost."""
import errno
import hashlib
import json
import os
import random
import re
import shutil
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from forge import forge_manifest, forge_snapshot, newest
from meshkit import NOISE, is_mounted, unmount, wait_for, write_tree
from servers import TOOL_PATH, RcloneS3, VersityGw, tool

BIG = 3 << 20
FILES = {"a.csv": "id,name\n1,ann\n2,bob\n", "deep/b.txt": "hello\n", "big.bin": random.Random(7).randbytes(BIG)}


def refused(number, call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == number, caught.value


def metrics(mount):
    lines = (mount.path / ".mesh/metrics").read_text().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def settings(mesh, *lines):
    """Further lines of mesh.yaml."""
    with open(mesh.file, "a") as f:
        f.write("".join(line + "\n" for line in lines))


def forget_cache(mesh):
    shutil.rmtree(mesh.folder / "home/cache", ignore_errors=True)


def same(folder, files):
    for name, content in files.items():
        data = (folder / name).read_bytes()
        assert data == (content.encode() if isinstance(content, str) else content), name


@pytest.fixture
def two(mesh, fuse):
    """Domains sales and other, with a version each; reads give up early."""
    settings(mesh, "timeout: 3s")
    for name in ("sales", "other"):
        mesh.domain(name)
        mesh.publish(f"{name}/orders/1.0.0", FILES)
    mesh.store = mesh.folder / "stores/sales/.mesh"
    forget_cache(mesh)
    return mesh


# -- sources that move -------------------------------------------------------------------------

def test_a_file_that_vanishes_while_it_is_published(mesh):
    mesh.domain("sales")
    source = write_tree(mesh.folder / "src", {f"f{i:02}": random.Random(i).randbytes(6 << 20) for i in range(12)})
    heads = mesh.folder / "stores/sales/.mesh/heads"
    before = sorted(os.listdir(heads)) if heads.exists() else []
    process = subprocess.Popen([*mesh.command(), "publish", "sales/t/1.0.0", source], stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               text=True, env=mesh.environment())
    packs = mesh.folder / "stores/sales/.mesh/packs"
    wait_for(lambda: packs.exists() and os.listdir(packs) or process.poll() is not None, interval=0.001, what="the first pack")
    (source / "f11").unlink()
    _, err = process.communicate(timeout=60)
    if process.returncode == 0:
        pytest.skip("the last file was read before it vanished")
    assert process.returncode == 1 and "f11" in err and not NOISE.search(err), err
    assert (sorted(os.listdir(heads)) if heads.exists() else []) == before
    mesh.run("publish", "sales/t/1.0.0", source)


# -- stores that hold broken things ----------------------------------------------------------------

def damage(path, how, other):
    data = bytearray(path.read_bytes())
    if how == "truncated":
        path.write_bytes(data[:len(data) // 2])
    elif how == "flipped":
        data[len(data) // 2] ^= 0x10
        path.write_bytes(data)
    elif how == "emptied":
        path.write_bytes(b"")
    elif how == "another":
        path.write_bytes(other.read_bytes())
    else:
        path.unlink()


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "another", "gone", "newer", "other-domain"])
def test_a_broken_catalog_hides_nothing_else(two, how):
    store, other = two.store, two.folder / "stores/other/.mesh"
    _, head = newest(store)
    if how == "newer":
        forge_snapshot(store, [("PRAGMA user_version = 99",)])
    elif how == "other-domain":
        forge_snapshot(store, [("UPDATE meta SET domain = 'other'",)])
    else:
        damage(store / "snapshots" / head["snapshot"], how, other / "snapshots" / newest(other)[1]["snapshot"])
    with two.mount(check_noise=False) as m:
        same(m.path / "other/orders/1.0.0", FILES)
        refused(errno.EIO, os.listdir, m.path / "sales/orders/1.0.0")
        status = json.loads((m.path / ".mesh/status.json").read_text())
        (sales,) = [d for d in status["domains"] if d["name"] == "sales"]
        assert not sales["reachable"]
        assert "sales: " in m.log() and ("newer" in m.log()) == (how == "newer"), m.log()
        assert not NOISE.search(m.log())


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "another", "gone", "newer", "other-domain"])
def test_a_broken_manifest_fails_its_version_alone(two, how):
    store, other = two.store, two.folder / "stores/other/.mesh"
    if how == "newer":
        forge_manifest(store, "PRAGMA user_version = 99")
    elif how == "other-domain":
        forge_manifest(store, "UPDATE manifest SET domain = 'other'")
    else:
        (path,), (stranger,) = (store / "manifests").iterdir(), (other / "manifests").iterdir()
        saved = path.read_bytes()
        damage(path, how, stranger)
    with two.mount(check_noise=False) as m:
        refused(errno.EIO, os.listdir, m.path / "sales/orders/1.0.0")
        refused(errno.EIO, os.stat, m.path / "sales/orders/1.0.0/a.csv")
        same(m.path / "other/orders/1.0.0", FILES)
        assert "sales/orders/1.0.0" in m.log(), m.log()
        assert how != "newer" or "newer" in m.log()
        assert not NOISE.search(m.log())
        if how not in ("newer", "other-domain"):
            path.write_bytes(saved)
            wait_for(lambda: answers(m.path / "sales/orders/1.0.0"), what="the mended version")
            same(m.path / "sales/orders/1.0.0", FILES)


def answers(folder):
    try:
        return os.listdir(folder)
    except OSError:
        return None


@pytest.mark.parametrize("how", ["truncated", "flipped", "emptied", "another", "gone"])
def test_a_broken_pack_gives_an_error_and_never_a_wrong_byte(two, how):
    packs = list((two.store / "packs").iterdir())
    two.publish("other/noise/1.0.0", {"x": random.Random(3).randbytes(BIG + 4096)})
    stranger = max((two.folder / "stores/other/.mesh/packs").iterdir(), key=lambda p: p.stat().st_mtime_ns)
    saved = {p: p.read_bytes() for p in packs}
    for p in packs:
        damage(p, how, stranger)
    with two.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        v = m.path / "sales/orders/1.0.0"
        assert sorted(os.listdir(v)) == ["a.csv", "big.bin", "deep"]
        bad = 0
        for name, content in FILES.items():
            content = content.encode() if isinstance(content, str) else content
            for at in range(0, len(content), 1 << 16):  # every leaf
                try:
                    with open(v / name, "rb", buffering=0) as f:
                        data = os.pread(f.fileno(), 4096, at)
                except OSError as e:
                    assert e.errno == errno.EIO
                    bad += 1
                else:
                    assert data == content[at:at + 4096]
        assert bad >= 1
        log = m.log()
        assert re.search(r"sales/orders/1\.0\.0/\S+: chunk \d+", log), log
        if how == "flipped":
            assert metrics(m)["meshfs_integrity_errors_total"] >= 1
            assert re.search(r"sales/orders/1\.0\.0/\S+: chunk \d+ \([0-9a-f]{64}\)", log), log
        same(m.path / "other/orders/1.0.0", FILES)
        for p, data in saved.items():
            p.write_bytes(data)
        same(v, FILES)


@pytest.mark.parametrize("where", ["folder", "s3"])
def test_an_object_in_place_that_changed_is_stale(mesh, fuse, where, request):
    new = random.Random(9).randbytes(BIG)
    if where == "folder":
        mesh.domain("sales")
        raw = mesh.folder / "stores/sales/raw"
        write_tree(raw, {"big.bin": FILES["big.bin"], "a.csv": FILES["a.csv"]})
        mesh.publish("sales/raw/1.0.0", raw, "--in-place")

        def replace():
            (raw / "big.bin").write_bytes(new)
    else:
        s3 = request.getfixturevalue("moto")
        mesh.env.update(s3.env)
        store = f"in-place-{os.urandom(4).hex()}"
        mesh.domain("sales", s3.store(store), endpoint=s3.url)
        client = s3.client()
        client.put_object(Bucket="mesh-data", Key=f"{store}/raw/big.bin", Body=FILES["big.bin"])
        client.put_object(Bucket="mesh-data", Key=f"{store}/raw/a.csv", Body=FILES["a.csv"].encode())
        mesh.run("publish", "sales/raw/1.0.0", s3.store(store) + "/raw", "--in-place")

        def replace():
            client.put_object(Bucket="mesh-data", Key=f"{store}/raw/big.bin", Body=new)
    with mesh.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        v = m.path / "sales/raw/1.0.0"
        with open(v / "big.bin", "rb", buffering=0) as f:
            assert os.pread(f.fileno(), 4096, 0) == FILES["big.bin"][:4096]
            replace()
            seen, stale = 0, 0
            for at in range(0, BIG, 1 << 16):
                os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                try:
                    assert os.pread(f.fileno(), 4096, at) == FILES["big.bin"][at:at + 4096]
                    seen += 1
                except OSError as e:
                    assert e.errno == errno.ESTALE
                    stale += 1
        assert (v / "a.csv").read_text() == FILES["a.csv"]
        if not stale:  # read-ahead was quicker than the change
            assert seen
            m.stop()
            forget_cache(mesh)
            m.start()
            refused(errno.ESTALE, (v / "big.bin").read_bytes)
        assert "sales/raw/1.0.0/big.bin" in m.log() and "changed" in m.log(), m.log()


# -- http stores that misbehave under a mount ---------------------------------------------------------

@pytest.fixture
def weak(mesh, fuse, tmp_path, faulty):
    """A mesh whose domain `far` lies behind the server that misbehaves; its catalog and manifest are here already."""
    mesh.domain("far", (tmp_path / "www").as_uri())
    mesh.publish("far/data/1.0.0", FILES)
    mesh.file.write_text(mesh.file.read_text().replace((tmp_path / "www").as_uri(), faulty.url))
    settings(mesh, "timeout: 3s", "refresh: 1h")
    forget_cache(mesh)
    with mesh.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        m.far = m.path / "far/data/1.0.0"
        assert len(os.listdir(m.far)) == 3
        yield m
        faulty.plan("ok")


@pytest.mark.parametrize("fault", ["500", "503+1", "429", "close", "reset", "truncate", "stall", "silent", "norange", "short", "nonsense"])
def test_a_store_that_fails_once_is_not_noticed(weak, faulty, fault):
    faulty.plan(fault)
    same(weak.far, FILES)


@pytest.mark.parametrize("fault", ["500*", "403*", "close*", "truncate*", "stall*", "silent*", "short*", "wrongrange*", "norangeheader*", "long*",
                                   "shrunk*", "garbage*", "nonsense*"])
def test_a_store_that_fails_for_good_gives_errors_until_it_is_well(weak, faulty, fault):
    faulty.plan(fault)
    start = time.monotonic()
    with open(weak.far / "big.bin", "rb", buffering=0) as f:
        try:
            data = os.pread(f.fileno(), 4096, BIG // 2)
            assert data == FILES["big.bin"][BIG // 2:BIG // 2 + 4096]  # too much or half of it may still be enough, and verified
            served = True
        except OSError as e:
            assert e.errno == errno.EIO
            served = False
        assert time.monotonic() - start < 15
        assert not served or fault in ("truncate*", "stall*", "short*", "long*", "norangeheader*", "shrunk*")
        if not served:
            assert "far" in weak.log(), weak.log()
        faulty.plan("ok")
        wait_for(lambda: readable(f.fileno(), BIG // 2), timeout=10, what="the store that is well again")
    same(weak.far, FILES)


def readable(fd, at):
    try:
        return os.pread(fd, 100, at) == FILES["big.bin"][at:at + 100]
    except OSError as e:
        assert e.errno == errno.EIO
        return False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_reader_of_a_dead_store_can_be_interrupted(weak, faulty, number):
    faulty.plan("silent*")
    reader = subprocess.Popen(["cat", weak.far / "big.bin"], stdout=subprocess.DEVNULL)
    time.sleep(0.5)
    assert reader.poll() is None
    start = time.monotonic()
    reader.send_signal(number)
    assert reader.wait(5) == -number and time.monotonic() - start < 1


def test_a_store_that_says_nothing_is_waited_for_once(weak, faulty):
    faulty.plan("silent*")
    with open(weak.far / "big.bin", "rb", buffering=0) as f:
        took = []
        for _ in range(3):
            start = time.monotonic()
            refused(errno.EIO, os.pread, f.fileno(), 4096, 0)
            took.append(time.monotonic() - start)
        assert 2 < took[0] < 5 and max(took[1:]) < 1, took
        faulty.plan("ok")
        wait_for(lambda: readable(f.fileno(), 0), timeout=10, what="the store that is well again")


# -- S3: keys, clocks, servers that die ----------------------------------------------------------------

@pytest.fixture
def gateway(mesh, fuse, tmp_path):
    """A mesh with a domain in a server of its own, which tests may kill."""
    kind = VersityGw if shutil.which("versitygw", path=TOOL_PATH) else RcloneS3
    with kind(tmp_path / "s3") as server:
        mesh.env.update(server.env)
        settings(mesh, "timeout: 3s", "refresh: 1h")
        mesh.domain("cloud", server.store("m"), endpoint=server.url)
        mesh.publish("cloud/data/1.0.0", FILES)
        mesh.server = server
        yield mesh


def test_wrong_credentials_at_a_mount(gateway):
    forget_cache(gateway)
    wrong = {"AWS_SECRET_ACCESS_KEY": "wrong"}
    done = gateway.run("ls", "cloud/data", env=wrong, check=False)
    assert done.returncode == 1 and "AWS_" in done.stderr and "wrong" not in done.stderr.replace("wrong key", "")
    with gateway.mount(env=wrong) as m:
        refused(errno.EIO, os.listdir, m.path / "cloud/data")
        assert "cloud: " in m.log() and "secret" in m.log().lower()


SKEW = r"""
#define _GNU_SOURCE
#include <sys/time.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>
#define SKEW 7200
int clock_gettime(clockid_t id, struct timespec *t)
{
	long r = syscall(SYS_clock_gettime, id, t);
	if (!r && id == CLOCK_REALTIME)
		t->tv_sec += SKEW;
	return (int)r;
}
time_t time(time_t *t)
{
	struct timespec s;
	clock_gettime(CLOCK_REALTIME, &s);
	return t ? *t = s.tv_sec : s.tv_sec;
}
int gettimeofday(struct timeval *v, void *zone)
{
	struct timespec s;
	clock_gettime(CLOCK_REALTIME, &s);
	*v = (struct timeval){ s.tv_sec, s.tv_nsec / 1000 };
	return zone ? 0 : 0;
}
"""


def test_a_clock_that_is_wrong_is_named(gateway, tmp_path):
    if "asan" in os.environ.get("MESHFS_BIN", ""):
        pytest.skip("a preloaded library and the sanitizer's do not mix")
    (tmp_path / "skew.c").write_text(SKEW)
    subprocess.run([tool("cc", "gcc"), "-shared", "-fPIC", "-o", tmp_path / "skew.so", tmp_path / "skew.c"], check=True)
    done = gateway.run("publish", "cloud/data/1.0.1", str(gateway.file), env={"LD_PRELOAD": str(tmp_path / "skew.so")}, check=False)
    assert done.returncode == 1 and "clock" in done.stderr, done.stderr


def test_a_server_that_is_killed_while_it_is_written_and_read(gateway):
    rng = random.Random(5)
    files = {f"f{i}": rng.randbytes(4 << 20) for i in range(6)}
    source = write_tree(gateway.folder / "more", files)
    for i in range(4):
        process = subprocess.Popen([*gateway.command(), "publish", f"cloud/more/1.{i}.0", source], stderr=subprocess.PIPE, text=True,
                                   env=gateway.environment())
        time.sleep(rng.random() * 0.4)
        gateway.server.process.kill()
        gateway.server.process.wait()
        gateway.server.start()
        _, err = process.communicate(timeout=60)
        assert process.returncode in (0, 1) and not NOISE.search(err), err
        gateway.run("publish", f"cloud/more/1.{i}.0", source)
    gateway.run("verify")
    forget_cache(gateway)
    with gateway.mount() as m:
        v = m.path / "cloud/more/1.3.0"
        os.listdir(v)
        stop, wrong = threading.Event(), []

        def read():
            while not stop.is_set():
                for name, content in files.items():
                    try:
                        if (v / name).read_bytes() != content:
                            wrong.append(name)
                    except OSError as e:
                        if e.errno != errno.EIO:
                            wrong.append(e)

        readers = [threading.Thread(target=read) for _ in range(2)]
        for t in readers:
            t.start()
        for _ in range(3):
            time.sleep(rng.random() * 0.2)
            gateway.server.process.kill()
            gateway.server.process.wait()
            gateway.server.start()
        stop.set()
        for t in readers:
            t.join()
        assert not wrong
        wait_for(lambda: whole(v, files), timeout=15, what="the server that is back")


def whole(folder, files):
    try:
        same(folder, files)
        return True
    except OSError:
        return False


def test_with_every_store_down_what_is_cached_stays(gateway, tmp_path, nginx):
    mesh = gateway
    mesh.domain("web", (tmp_path / "www/w").as_uri())
    mesh.domain("local")
    for name in ("web", "local"):
        mesh.publish(f"{name}/data/1.0.0", FILES)
    subprocess.run(["chmod", "-R", "a+rX", tmp_path / "www"], check=True)
    mesh.file.write_text(mesh.file.read_text().replace((tmp_path / "www/w").as_uri(), nginx.url + "/w"))
    forget_cache(mesh)
    domains = ("cloud", "web", "local")
    with mesh.mount() as m:
        for d in domains:
            v = m.path / d / "data/1.0.0"
            assert (v / "big.bin").read_bytes() == FILES["big.bin"]
            assert len(list(os.walk(v))) == 2
        mesh.server.stop()
        nginx.stop()
        (mesh.folder / "stores/local").rename(mesh.folder / "stores/away")
        for d in domains:
            v = m.path / d / "data/1.0.0"
            assert (v / "big.bin").read_bytes() == FILES["big.bin"]
            assert sorted(os.listdir(v)) == ["a.csv", "big.bin", "deep"]
        m.stop()
        m.start()  # a new process, and still no store
        for d in domains:
            assert (m.path / d / "data/1.0.0/big.bin").read_bytes() == FILES["big.bin"]
        mesh.run("cache", "prune", "--to", "0", check=False)
        mesh.server.start()
        nginx.start()
        (mesh.folder / "stores/away").rename(mesh.folder / "stores/local")
        for d in domains:
            wait_for(lambda: whole(m.path / d / "data/1.0.0", FILES), timeout=20, what=f"{d} again")


# -- disks ----------------------------------------------------------------------------------------------

class SmallDisk:
    """A tmpfs of so many bytes over a folder."""

    def __init__(self, path, size):
        if os.geteuid() != 0:
            pytest.skip("needs root")
        self.path = Path(path)
        self.path.mkdir(parents=True, exist_ok=True)
        if subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", self.path], capture_output=True).returncode:
            pytest.skip("cannot mount a small disk here")

    def fill(self):
        with open(self.path / "ballast", "wb", buffering=0) as f:
            for block in (1 << 16, 4096):
                try:
                    while f.write(b"\0" * block) == block:
                        pass
                except OSError as e:
                    assert e.errno == errno.ENOSPC

    def empty(self):
        (self.path / "ballast").unlink()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        unmount(self.path)


@pytest.mark.parametrize("size", ["0", "64k", "1m"])
def test_a_full_cache_disk_is_served_past(two, size):
    if size == "0":
        disk = SmallDisk(two.folder / "home/cache", "256k")
        disk.fill()
    else:
        disk = SmallDisk(two.folder / "home/cache", size)
    with disk:
        with two.mount() as m:
            for _ in range(2):
                same(m.path / "sales/orders/1.0.0", FILES)
        if size == "0":
            assert "cach" in m.log() and "No space" in m.log(), m.log()


def test_a_cache_disk_that_fills_while_it_is_read(two):
    with SmallDisk(two.folder / "home/cache", "16m") as disk, two.mount() as m:
        assert (m.path / "sales/orders/1.0.0/a.csv").read_text()
        disk.fill()
        same(m.path / "sales/orders/1.0.0", FILES)
        same(m.path / "other/orders/1.0.0", FILES)
        disk.empty()
        same(m.path / "sales/orders/1.0.0", FILES)


def lineage_on_small_disk(mesh, size, on_full):
    disk = SmallDisk(mesh.folder / "disk", size)
    settings(mesh, "lineage: { db: disk/lineage.db, on_full: %s }" % on_full)
    return disk


def test_a_database_disk_that_fills_loses_no_read(two):
    with lineage_on_small_disk(two, "128m", "wait") as disk:
        with two.mount(run="before") as m:
            assert (m.path / "sales/orders/1.0.0/a.csv").read_text()
        m = two.mount(run="full", check_noise=False).start()
        disk.fill()
        for i in range(5):
            assert (m.path / "sales/orders/1.0.0/deep/b.txt").read_text()
        m.kill()
        unmount(m.path)
        disk.empty()
        (read,) = two.json("lineage", "reads", "--run", "full")
        assert read["file"] == "deep/b.txt" and read["opens"] == 5
        assert len(two.json("lineage", "reads", "--run", "before")) == 1


@pytest.mark.parametrize("on_full", ["wait", "serve"])
def test_no_room_for_a_journal(two, on_full):
    with lineage_on_small_disk(two, "24m", on_full) as disk:
        two.run("lineage", "runs", check=False)
        disk.fill()
        (two.folder / "mnt").mkdir()
        done = two.run("mount", two.folder / "mnt", status=1)  # not even with `serve`: somebody stands here who can make room
        assert "lineage" in done.stderr and ("disk is full" in done.stderr or "No space" in done.stderr), done.stderr
        assert not is_mounted(two.folder / "mnt")
        disk.empty()
        two.run("mount", two.folder / "mnt", "--run", "again")
        same(two.folder / "mnt/sales/orders/1.0.0", {"a.csv": FILES["a.csv"]})
        two.run("umount", two.folder / "mnt")
        assert len(two.json("lineage", "reads", "--run", "again")) == 1


def open_many(path, count):
    """(opens that were answered, errno of the one that was not or None, how long that one took)"""
    for done in range(count):
        begin = time.monotonic()
        try:
            os.close(os.open(path, os.O_RDONLY))
        except OSError as error:
            return done, error.errno, time.monotonic() - begin
    return count, None, 0


@pytest.mark.parametrize("on_full", ["wait", "serve"])
def test_when_the_journal_is_full_too(two, on_full):
    """A segment holds 65,536 opens and the disk has no room for another one: then opens wait and fail; with `serve` they are counted as not on record."""
    with lineage_on_small_disk(two, "64m", on_full) as disk:
        m = two.mount(run="full", check_noise=False).start()
        path = m.path / "sales/orders/1.0.0/a.csv"
        disk.fill()
        opened, error, took = open_many(path, 80000)
        if on_full == "wait":
            assert error == errno.EIO and took > 5 and opened > 60000
            assert "opens fail until it can" in m.log() and "disk is full" in m.log()
            assert open_many(path, 1)[2] < 2  # others do not wait as well
        else:
            assert error is None and "served without a record" in m.log()
        disk.empty()
        wait_for(lambda: open_many(path, 1)[1] is None, what="that opens succeed again")
        opened += 1
        m.stop(check=False)
        (read,) = two.json("lineage", "reads", "--run", "full")
        notes = [line["note"] for line in two.json("lineage", "verify") if "note" in line]
        down = two.run("lineage", "down", "sales/orders/1.0.0")
        if on_full == "wait":
            assert read["opens"] == opened and not notes and not down.stderr
        else:
            (lost,) = (int(re.search(r": (\d+) opens between", note)[1]) for note in notes)
            assert lost > 0 and read["opens"] + lost == opened
            assert f"{lost} opens between" in down.stderr and "not in this answer" in down.stderr


def test_a_cache_on_overlayfs(two, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    base = tmp_path / "overlay"
    tmpfs = None
    for name in ("lower", "upper", "work"):
        (base / name).mkdir(parents=True)
    cache = two.folder / "home/cache"
    cache.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={base}/lower,upperdir={base}/upper,workdir={base}/work", cache]
    if subprocess.run(mount, capture_output=True).returncode:  # an overlay cannot be the upper folder of another
        tmpfs = SmallDisk(base, "64m")
        for name in ("lower", "upper", "work"):
            (base / name).mkdir(parents=True)
        if subprocess.run(mount, capture_output=True).returncode:
            unmount(base)
            pytest.skip("overlayfs cannot be mounted here")
    try:
        for _ in range(2):
            with two.mount() as m:
                for _ in range(3):
                    same(m.path / "sales/orders/1.0.0", FILES)
                    time.sleep(0.1)
        shutil.rmtree(two.folder / "stores/sales")
        with two.mount(check_noise=False) as m:
            assert (m.path / "sales/orders/1.0.0/big.bin").read_bytes() == FILES["big.bin"]
    finally:
        unmount(cache)
        if tmpfs:
            unmount(base)


def blobs(mesh):
    return [p for p in (mesh.folder / "home/cache").rglob("*") if p.is_file() and p.stat().st_size >= 4096]


def test_a_cache_that_was_cut_or_emptied_is_fetched_again(two):
    with two.mount() as m:
        same(m.path / "sales/orders/1.0.0", FILES)
    for cut in (lambda p: os.truncate(p, p.stat().st_size // 2), lambda p: os.truncate(p, 0), lambda p: p.unlink()):
        for p in blobs(two):
            if p.suffix != ".db" and "manifest" not in str(p) and "snapshot" not in str(p):
                cut(p)
        with two.mount() as m:
            same(m.path / "sales/orders/1.0.0", FILES)


def test_two_domains_of_one_name_share_nothing_in_a_cache(meshes, tmp_path, fuse):
    """Two meshes may call different stores by one name, and one of them may lie."""
    for i in range(2):
        mesh = meshes()
        mesh.env["XDG_CACHE_HOME"] = str(tmp_path / "cache")
        mesh.domain("sales")
        mesh.publish("sales/orders/1.0.0", {"a.bin": b"x" * 9000, "b.bin": os.urandom(2 << 20) if i == 0 else Path(tmp_path / "b").read_bytes()})
        with mesh.mount() as m:
            (tmp_path / "b").write_bytes((m.path / "sales/orders/1.0.0/b.bin").read_bytes())
            assert (m.path / "sales/orders/1.0.0/a.bin").read_bytes() == b"x" * 9000
        reads = {r["file"]: r["bytes"] for r in mesh.json("lineage reads")}
        assert reads["a.bin"] >= 1 and reads["b.bin"] == 2 << 20, reads


def test_cache_verify_finds_flipped_bits(two):
    with two.mount() as m:
        same(m.path / "sales/orders/1.0.0", FILES)
    flipped = 0
    for p in blobs(two):
        if p.stat().st_size >= BIG:
            with open(p, "r+b") as f:
                f.seek(BIG // 2)
                byte = f.read(1)
                f.seek(BIG // 2)
                f.write(bytes([byte[0] ^ 1]))
            flipped += 1
    assert flipped
    done = two.run("cache", "verify", check=False)
    assert done.returncode == 5, done.stdout + done.stderr
    two.run("cache", "verify")
    with two.mount() as m:
        same(m.path / "sales/orders/1.0.0", FILES)


def test_two_processes_fill_one_blob(weak, faulty):
    mesh = weak.mesh
    faulty.plan("ok")
    with mesh.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as second:
        paths = [weak.far / "big.bin", second.path / "far/data/1.0.0/big.bin"]
        for p in paths:
            os.stat(p)
        readers = [subprocess.Popen(["sha256sum", p], stdout=subprocess.PIPE, text=True) for p in paths * 3]
        wanted = hashlib.sha256(FILES["big.bin"]).hexdigest()
        assert all(r.communicate()[0].split()[0] == wanted for r in readers)
    fetched = sum(os.path.getsize(p) for p in paths[:1])
    assert fetched == BIG
    faulty.plan("500*")
    with mesh.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}, check_noise=False) as third:  # whole, whoever wrote which part
        assert (third.path / "far/data/1.0.0/big.bin").read_bytes() == FILES["big.bin"]
        faulty.plan("ok")


# -- processes that die ----------------------------------------------------------------------------------

def test_a_mount_that_is_killed_again_and_again(two):
    rng = random.Random(11)
    for i in range(6):
        if i % 2:
            forget_cache(two)
        m = two.mount(path=two.folder / "mnt", run=f"r{i}", check_noise=False).start()
        v = m.path / "sales/orders/1.0.0"
        seen, wrong, stop = [], [], threading.Event()

        def read():
            while not stop.is_set():
                for name, content in FILES.items():
                    try:
                        data = (v / name).read_bytes()
                    except OSError as e:
                        if e.errno not in (errno.ENOTCONN, errno.ECONNABORTED, errno.EIO):
                            wrong.append(e)
                        return
                    if data != (content.encode() if isinstance(content, str) else content):
                        wrong.append(name)
                    seen.append(name)

        readers = [threading.Thread(target=read) for _ in range(3)]
        for t in readers:
            t.start()
        time.sleep(rng.random() * 0.3)
        m.kill()
        stop.set()
        for t in readers:
            t.join(10)
        assert not wrong
        unmount(m.path)
        recorded = {r["file"]: r["opens"] for r in two.json("lineage", "reads", "--run", f"r{i}")}
        for name in set(seen):
            assert recorded.get(name, 0) >= seen.count(name), (name, recorded)
    with two.mount() as m:
        same(m.path / "sales/orders/1.0.0", FILES)
