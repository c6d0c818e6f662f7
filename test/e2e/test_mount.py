"""The mount, from outside: what every path is, what readers get, what errors they get, how it starts and ends."""
import csv
import errno
import hashlib
import json
import mmap
import os
import random
import shutil
import signal
import subprocess
import time

import pytest

from meshkit import is_mounted, unmount, wait_for, write_tree

BIG = 3 << 20  # several chunks, and worth passing through


def data(size, seed=1):
    return random.Random(seed).randbytes(size)


FILES = {"a.csv": "id,name\n1,ann\n2,bob\n", "empty": "", "deep/er/file.txt": "hello\n", "big.bin": data(BIG)}


@pytest.fixture
def orders(mesh, fuse):
    """A mesh with sales/orders/1.2.0."""
    mesh.domain("sales")
    mesh.publish("sales/orders/1.2.0", FILES)
    return mesh


def refused(number, call, *args):
    with pytest.raises(OSError) as caught:
        call(*args)
    assert caught.value.errno == number, caught.value


def metrics(mount):
    lines = (mount.path / ".mesh/metrics").read_text().splitlines()
    return {line.split()[0]: float(line.split()[1]) for line in lines if not line.startswith("#")}


def detached(mesh, path, *args, **options):
    path.mkdir(exist_ok=True)
    return mesh.run("mount", str(path), *args, **options)


def pid_of(path):
    return json.loads((path / ".mesh/status.json").read_text())["pid"]


# -- the tree --------------------------------------------------------------------------------

def test_the_tree_is_as_documented(orders):
    orders.publish("sales/orders/1.3.0", {"a.csv": "id\n1\n"})
    with orders.mount() as m:
        p = m.path
        assert sorted(os.listdir(p)) == ["README.md", "sales"]
        assert sorted(os.listdir(p / "sales")) == ["README.md", "orders"]
        assert sorted(os.listdir(p / "sales/orders")) == ["1.2.0", "1.3.0", "README.md", "latest"]
        assert os.readlink(p / "sales/orders/latest") == "1.3.0"
        assert os.readlink(p / "sales/orders/1") == "1.3.0"
        assert os.readlink(p / "sales/orders/1.2") == "1.2.0"
        assert sorted(os.listdir(p / "sales/orders/1.2.0")) == ["a.csv", "big.bin", "deep", "empty"]
        assert "acme" in (p / "README.md").read_text()
        assert "orders" in (p / "sales/README.md").read_text()
        assert "1.2.0" in (p / "sales/orders/README.md").read_text()
        assert {"manifest.csv", "policy.txt"} <= set(os.listdir(p / "sales/orders/1.2.0/.mesh"))
        assert os.readlink(p / ".mesh/search/orders/orders@sales") == "../../../sales/orders"
        assert (p / ".mesh/search/orders/orders@sales/latest/a.csv").read_text() == "id\n1\n"
        assert os.listdir(p / ".mesh/search/nosuchword") == []
        for absent in ("nope", "sales/nope", "sales/orders/9.9.9", "sales/orders/2", "sales/orders/1.2.0/nope", "sales/orders/01.2.0"):
            refused(errno.ENOENT, os.stat, p / absent)
        refused(errno.ENOTDIR, os.stat, p / "sales/orders/1.2.0/a.csv/x")


def test_status_and_metrics_are_well_formed(orders):
    with orders.mount(purpose="training") as m:
        (m.path / "sales/orders/1.2.0/a.csv").read_bytes()
        status = json.loads((m.path / ".mesh/status.json").read_text())
        assert status["mesh"] == "acme" and status["purpose"] == "training"
        assert status["domains"][0]["name"] == "sales" and status["domains"][0]["reachable"]
        assert metrics(m)["meshfs_opens_total"] == 1


def test_attributes_are_exact_and_read_only(orders):
    with orders.mount() as m:
        v = m.path / "sales/orders/1.2.0"
        for name, content in FILES.items():
            st = os.stat(v / name)
            assert st.st_size == len(content) and st.st_mode == 0o100444
        assert os.stat(v).st_mode == 0o40555
        assert os.statvfs(m.path).f_namemax == 255


def test_names_that_linux_allows(mesh, fuse):
    mesh.domain("d")
    source = mesh.folder / "odd"
    source.mkdir()
    names = [b"new\nline", b"\xff\xfe", b"x" * 255, b" blank ", b"-dash", "ümläut".encode(), b"a\\b", b"*?[", b'quo"te']
    for i, name in enumerate(names):
        with open(os.path.join(os.fsencode(source), name), "wb") as f:
            f.write(b"%d" % i)
    mesh.publish("d/odd/1.0.0", source)
    with mesh.mount() as m:
        folder = os.fsencode(m.path / "d/odd/1.0.0")
        assert sorted(os.listdir(folder)) == sorted(names)
        for i, name in enumerate(names):
            with open(os.path.join(folder, name), "rb") as f:
                assert f.read() == b"%d" % i
        refused(errno.ENAMETOOLONG, os.stat, os.path.join(folder, b"y" * 256))


def test_a_wide_folder_lists_whole_and_from_any_position(mesh, fuse):
    mesh.domain("d")
    files = {f"f{i:05}": "" for i in range(3000)}
    mesh.publish("d/wide/1.0.0", files)
    with mesh.mount() as m:
        folder = m.path / "d/wide/1.0.0"
        assert sorted(os.listdir(folder)) == sorted(files)
        assert sum(e.stat().st_size == 0 for e in os.scandir(folder)) == 3000
        assert subprocess.run(["ls", "-lU", folder], capture_output=True, check=True).stdout.count(b"\n") == 3001


def test_xattrs_of_a_version_that_nobody_entered(mesh):
    """`ls -l` of a product asks for the attributes of every version."""
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    with mesh.mount() as m:
        version = m.path / "sales/orders/1.0.0"
        assert os.listxattr(version) == ["user.mesh.address"]
        assert os.getxattr(version, "user.mesh.address") == b"sales/orders/1.0.0"


def test_xattrs(orders):
    with orders.mount() as m:
        a = m.path / "sales/orders/1.2.0/a.csv"
        assert os.getxattr(a, "user.mesh.address") == b"sales/orders/1.2.0/a.csv"
        assert os.getxattr(a, "user.mesh.policy") == b"none"
        assert os.getxattr(a, "user.mesh.media_type") == b"text/csv"
        hashed = os.getxattr(a, "user.mesh.hash").decode()
        assert len(hashed) == 32
        with open(a.parent / ".mesh/manifest.csv", newline="") as f:
            rows = {r["path"]: r for r in csv.DictReader(f)}
        assert rows["a.csv"] == {"path": "a.csv", "size": str(len(FILES["a.csv"])), "xxh128": hashed}
        assert set(rows) == set(FILES)
        assert set(os.listxattr(a)) == {"user.mesh." + n for n in ("address", "hash", "policy", "media_type")}
        refused(errno.ENODATA, os.getxattr, a, "user.mesh.nope")
        refused(errno.ENODATA, os.getxattr, a, "user.other")
        refused(errno.ENOTSUP, os.getxattr, a, "security.selinux")
        refused(errno.ENOTSUP, os.getxattr, a, "system.posix_acl_access")


def test_whatever_writes_is_refused(orders):
    with orders.mount() as m:
        v = m.path / "sales/orders/1.2.0"
        a = v / "a.csv"
        refused(errno.EROFS, open, a, "ab")
        refused(errno.EROFS, open, v / "new", "w")
        refused(errno.EROFS, os.truncate, a, 0)
        refused(errno.EROFS, os.mkdir, v / "new")
        refused(errno.EROFS, os.unlink, a)
        refused(errno.EROFS, os.rmdir, v / "deep")
        refused(errno.EROFS, os.rename, a, v / "b")
        refused(errno.EROFS, os.symlink, "x", v / "new")
        refused(errno.EROFS, os.link, a, v / "new")
        refused(errno.EROFS, os.chmod, a, 0o777)
        refused(errno.EROFS, os.utime, a)
        refused(errno.EROFS, os.setxattr, a, "user.x", b"y")
        refused(errno.EROFS, os.mkdir, m.path / "domain")
        assert a.read_text() == FILES["a.csv"]


# -- readers ---------------------------------------------------------------------------------

@pytest.mark.parametrize("passthrough", [True, False])
def test_readers_agree(orders, tmp_path, passthrough):
    if passthrough and os.geteuid() != 0:
        pytest.skip("passthrough needs root")
    with orders.mount(env={} if passthrough else {"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        v = m.path / "sales/orders/1.2.0"
        big = v / "big.bin"
        expected = FILES["big.bin"]
        for _ in range(3):  # cold, then cached, then (as root) promoted
            with open(big, "rb") as f:
                for seed in range(20):
                    at = random.Random(seed).randrange(BIG)
                    assert os.pread(f.fileno(), 5000, at) == expected[at:at + 5000]
                assert os.pread(f.fileno(), 10, BIG) == b""
                with mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as mapped:
                    assert hashlib.sha256(mapped).digest() == hashlib.sha256(expected).digest()
            time.sleep(0.1)
        assert subprocess.run(["cat", big], capture_output=True, check=True).stdout == expected
        subprocess.run(["cp", "-r", v, tmp_path / "cp"], check=True)
        subprocess.run(["diff", "-r", v, tmp_path / "cp"], check=True)
        tar = subprocess.run(["tar", "-C", v, "-cf", "-", "."], capture_output=True, check=True)
        assert tar.stderr == b""
        if shutil.which("rsync"):
            (tmp_path / "rs").mkdir()
            subprocess.run(["rsync", "-rc", f"{v}/", tmp_path / "rs/"], check=True)
            again = subprocess.run(["rsync", "-rcni", f"{v}/", tmp_path / "rs/"], capture_output=True, check=True, text=True)
            assert not [line for line in again.stdout.splitlines() if line.startswith(">f")]
        status = json.loads((m.path / ".mesh/status.json").read_text())
        if passthrough and status["passthrough"]:
            assert metrics(m)["meshfs_passthrough_files"] == 1
        if not passthrough:
            assert metrics(m)["meshfs_passthrough_files"] == 0 and not status["passthrough"]


def test_pages_stay_between_opens(orders):
    with orders.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        big = m.path / "sales/orders/1.2.0/big.bin"
        assert big.read_bytes() == FILES["big.bin"]
        served = metrics(m)["meshfs_served_bytes_total"]
        assert big.read_bytes() == FILES["big.bin"]
        assert metrics(m)["meshfs_served_bytes_total"] == served


def test_a_repository_is_whole(mesh, fuse, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    repo = tmp_path / "repo"
    env = {**os.environ, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_AUTHOR_NAME": "a", "GIT_AUTHOR_EMAIL": "a@b", "GIT_COMMITTER_NAME": "a",
           "GIT_COMMITTER_EMAIL": "a@b"}
    write_tree(repo, {f"f{i}": f"{i}\n" for i in range(30)})
    for command in (["init", "-q"], ["add", "."], ["commit", "-qm", "x"]):
        subprocess.run(["git", "-C", repo, *command], check=True, env=env)
    mesh.domain("d")
    mesh.publish("d/repo/1.0.0", repo)
    with mesh.mount() as m:
        subprocess.run(["git", "-c", "safe.directory=*", "--git-dir", m.path / "d/repo/1.0.0/.git", "fsck", "--full"], check=True, env=env)


def test_pandas(orders):
    pandas = pytest.importorskip("pandas")
    with orders.mount() as m:
        assert list(pandas.read_csv(m.path / "sales/orders/latest/a.csv").name) == ["ann", "bob"]


def test_two_mounts_share_a_cache(orders):
    with orders.mount() as one, orders.mount() as two:
        assert (one.path / "sales/orders/1.2.0/big.bin").read_bytes() == FILES["big.bin"]
        # Bytes are served before they lie in the cache.
        wait_for(lambda: json.loads((one.path / ".mesh/status.json").read_text())["cache"]["bytes"] >= BIG, what="the cache")
        before = metrics(two)["meshfs_fetched_bytes_total"]
        assert (two.path / "sales/orders/1.2.0/big.bin").read_bytes() == FILES["big.bin"]
        assert metrics(two)["meshfs_fetched_bytes_total"] == before


# -- the record ------------------------------------------------------------------------------

def test_opens_are_on_record_when_umount_returns(orders, tmp_path):
    mnt = tmp_path / "mnt"
    detached(orders, mnt, "--run", "r1", "--purpose", "training")
    (mnt / "sales/orders/1.2.0/a.csv").read_bytes()
    (mnt / "sales/orders/1.2.0/a.csv").read_bytes()
    orders.run("umount", str(mnt))
    assert not is_mounted(mnt)
    (read,) = orders.json("lineage reads", "--run", "r1")
    assert (read["address"], read["outcome"], read["opens"], read["purpose"]) == ("sales/orders/1.2.0/a.csv", "served", 2, "training")


# -- policy ----------------------------------------------------------------------------------

def rules(mesh, text, name="extra"):
    """Replaces a policy file in one step, as an editor does."""
    path = mesh.folder / "policy" / f"{name}.policy"
    draft = path.with_suffix(".tmp")
    draft.write_text(text)
    draft.rename(path)


def test_denied_and_hidden(mesh, fuse):
    mesh.domain("sales")
    for product in ("open", "denied", "hidden"):
        mesh.publish(f"sales/{product}/1.0.0", {"a.txt": "secret\n"})
    rules(mesh, 'policy extra scope mesh version 1\n\ndeny no\n  files sales/denied/**\n  reason "not for you"\n\n'
                "hide gone\n  files sales/hidden/**\n")
    with mesh.mount(run="r") as m:
        assert sorted(os.listdir(m.path / "sales")) == ["README.md", "denied", "open"]
        refused(errno.ENOENT, os.stat, m.path / "sales/hidden")
        refused(errno.ENOENT, os.stat, m.path / "sales/hidden/1.0.0/a.txt")
        a = m.path / "sales/denied/1.0.0/a.txt"
        assert os.stat(a).st_size == 0 and os.listdir(a.parent) == ["a.txt"]
        refused(errno.EACCES, open, a)
        assert "not for you" in (a.parent / ".mesh/policy.txt").read_text()
        assert os.getxattr(a, "user.mesh.policy").startswith(b"denied")
        refused(errno.ENODATA, os.getxattr, a, "user.mesh.hash")
        assert "hidden" not in (m.path / "sales/README.md").read_text()
        assert (m.path / "sales/open/1.0.0/a.txt").read_text() == "secret\n"
    outcomes = {r["address"]: r["outcome"] for r in mesh.json("lineage reads", "--run", "r")}
    assert outcomes == {"sales/denied/1.0.0/a.txt": "denied", "sales/open/1.0.0/a.txt": "served"}


def test_policy_changes_while_mounted(orders):
    with orders.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        v = m.path / "sales/orders/1.2.0"
        assert (v / "a.csv").read_text() == FILES["a.csv"]
        with open(v / "big.bin", "rb", buffering=0) as f:
            assert f.read(10) == FILES["big.bin"][:10]
            rules(orders, "policy extra scope mesh version 1\n\ndeny no\n  files sales/orders/**\n")

            def denied():
                try:
                    open(v / "a.csv").close()
                except PermissionError:
                    return True
            wait_for(denied, what="the new policy")
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            refused(errno.ESTALE, os.pread, f.fileno(), 4096, BIG - 4096)
        assert os.stat(v / "a.csv").st_size == 0
        rules(orders, "policy extra scope mesh version 2\n")
        wait_for(lambda: os.stat(v / "a.csv").st_size, what="the old policy again")
        assert (v / "a.csv").read_text() == FILES["a.csv"]


def test_a_broken_policy_leaves_the_last_good_one_in_force(orders):
    rules(orders, "policy extra scope mesh version 1\n\ndeny no\n  files sales/orders/**/deep/**\n")
    with orders.mount() as m:
        v = m.path / "sales/orders/1.2.0"
        error = lambda: json.loads((m.path / ".mesh/status.json").read_text())["policy_error"]  # noqa: E731
        rules(orders, "policy extra scope mesh version 1\n\nfrobnicate all\n")
        wait_for(error, what="the broken policy")
        assert "extra.policy:3" in error()
        assert (v / "a.csv").read_text() == FILES["a.csv"]
        refused(errno.EACCES, open, v / "deep/er/file.txt")
        rules(orders, "policy extra scope mesh version 2\n\ndeny no\n  files sales/orders/*/a.csv\n")
        wait_for(lambda: not error(), what="the mended policy")
        wait_for(lambda: os.stat(v / "a.csv").st_size == 0, what="its rules")
        assert (v / "deep/er/file.txt").read_text() == "hello\n"


def test_a_broken_policy_is_told_before_mounting(orders, tmp_path):
    rules(orders, "policy extra scope mesh version 1\n\nfrobnicate all\n")
    done = detached(orders, tmp_path / "mnt", status=2)
    assert "extra.policy:3" in done.stderr and not is_mounted(tmp_path / "mnt")


# -- news ------------------------------------------------------------------------------------

def test_a_new_version_appears_at_once(orders):
    with orders.mount() as m:
        p = m.path / "sales/orders"
        assert os.readlink(p / "latest") == "1.2.0"
        refused(errno.ENOENT, os.stat, p / "1.3.0")
        orders.publish("sales/orders/1.3.0", {"a.csv": "new\n"})
        start = time.monotonic()
        wait_for(lambda: os.readlink(p / "latest") == "1.3.0", timeout=4, what="1.3.0")
        assert time.monotonic() - start < 3  # before the next poll of `refresh: 5s`
        assert (p / "latest/a.csv").read_text() == "new\n"
        assert (p / "1.2.0/a.csv").read_text() == FILES["a.csv"]


def test_a_named_run_keeps_its_versions(orders):
    with orders.mount(run="r1") as m:
        p = m.path / "sales/orders"
        orders.publish("sales/orders/1.3.0", {"a.csv": "new\n"})
        wait_for(lambda: os.path.exists(p / "1.3.0"), what="1.3.0")
        assert os.readlink(p / "latest") == "1.2.0" and os.readlink(p / "1") == "1.2.0"


def test_withdrawn_while_open(orders):
    with orders.mount(env={"MESHFS_NO_PASSTHROUGH": "1"}) as m:
        v = m.path / "sales/orders/1.2.0"
        with open(v / "big.bin", "rb", buffering=0) as f:
            f.read(10)
            orders.run("withdraw", "sales/orders/1.2.0", "--reason", "wrong")
            wait_for(lambda: not os.path.exists(v), what="the withdrawal")
            os.posix_fadvise(f.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            refused(errno.ESTALE, os.pread, f.fileno(), 4096, BIG - 4096)
        refused(errno.ENOENT, os.stat, v)


# -- stores that are away -----------------------------------------------------------------------

def test_what_is_cached_outlives_its_store(orders):
    with orders.mount() as m:
        assert (m.path / "sales/orders/1.2.0/big.bin").read_bytes() == FILES["big.bin"]
    (orders.folder / "stores/sales").rename(orders.folder / "stores/away")
    with orders.mount(check_noise=False) as m:
        v = m.path / "sales/orders/1.2.0"
        assert (v / "big.bin").read_bytes() == FILES["big.bin"]
        assert sorted(os.listdir(v)) == ["a.csv", "big.bin", "deep", "empty"]


@pytest.fixture
def hanging(mesh, fuse, tmp_path, faulty):
    """A domain whose catalog is here and whose http store has stopped answering, beside one that is well."""
    maker = mesh
    maker.domain("origin", (tmp_path / "www").as_uri())
    maker.publish("origin/slow/1.0.0", FILES)
    maker.domain("sales")
    maker.publish("sales/orders/1.2.0", FILES)
    text = maker.file.read_text().replace((tmp_path / "www").as_uri(), faulty.url)
    maker.file.write_text(text)
    shutil.rmtree(maker.folder / "home/cache", ignore_errors=True)
    if maker.run("ls", "origin/slow", check=False).returncode:
        pytest.skip("http stores are not built in")
    with maker.mount() as m:
        assert os.listdir(m.path / "origin/slow")
        faulty.plan("silent*")
        yield m
        faulty.plan("ok")


def test_a_hung_store_stalls_only_its_own_readers_who_may_leave(hanging):
    p = hanging.path
    waiting = [subprocess.Popen(["ls", p / "origin/slow/1.0.0"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) for _ in range(40)]
    time.sleep(0.5)
    assert all(w.poll() is None for w in waiting)
    start = time.monotonic()
    assert (p / "sales/orders/1.2.0/a.csv").read_text() == FILES["a.csv"]
    assert os.listdir(p / "origin") and time.monotonic() - start < 1
    for w in waiting:
        w.send_signal(signal.SIGINT)
    for w in waiting:
        w.wait(3)


# -- start and end -----------------------------------------------------------------------------

def test_mount_returns_when_it_answers_and_detaches(orders, tmp_path):
    mnt = tmp_path / "mnt"
    detached(orders, mnt)
    assert (mnt / "sales/orders/1.2.0/a.csv").exists()
    pid = pid_of(mnt)
    assert os.readlink(f"/proc/{pid}/cwd") == "/" and os.readlink(f"/proc/{pid}/fd/0") == "/dev/null"
    done = orders.run("mount", str(mnt), status=1)
    assert "mounted here already" in done.stderr
    orders.run("umount", str(mnt))
    assert "no mesh is mounted" in orders.run("umount", str(mnt), status=1).stderr


def test_mount_points_that_will_not_do(orders, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").write_text("x")
    assert "mkdir" in orders.run("mount", str(tmp_path / "absent"), status=1).stderr
    assert not (tmp_path / "absent").exists()
    assert "not empty" in orders.run("mount", str(tmp_path / "full"), status=1).stderr
    assert "not a folder" in orders.run("mount", str(tmp_path / "full/file"), status=1).stderr
    orders.run("mount", "--over", str(tmp_path / "full"))
    orders.run("umount", str(tmp_path / "full"))
    assert (tmp_path / "full/file").read_text() == "x"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_signals_end_it_cleanly(orders, number):
    m = orders.mount(run="r").start()
    held = open(m.path / "sales/orders/1.2.0/a.csv")  # busy, too
    assert held.read()
    m.process.send_signal(number)
    assert m.process.wait(10) == 0
    refused(errno.ENOTCONN, held.close)
    assert not is_mounted(m.path)
    m.stop()
    assert len(orders.json("lineage reads", "--run", "r")) == 1


def test_umount_refuses_while_busy(orders, tmp_path):
    mnt = tmp_path / "mnt"
    detached(orders, mnt)
    with open(mnt / "sales/orders/1.2.0/a.csv"):
        assert "in use" in orders.run("umount", str(mnt), status=1).stderr
    wait_for(lambda: orders.run("umount", str(mnt), check=False).returncode == 0, what="the unmount")


def test_a_killed_mount_is_mended_and_its_record_kept(orders, tmp_path):
    mnt = tmp_path / "mnt"
    detached(orders, mnt, "--run", "r1")
    assert (mnt / "sales/orders/1.2.0/a.csv").read_text()
    os.kill(pid_of(mnt), signal.SIGKILL)

    def dead():
        try:
            os.stat(mnt)
        except OSError as e:
            return e.errno == errno.ENOTCONN
    wait_for(dead, what="the dead mount")
    orders.run("mount", str(mnt))
    assert (mnt / "sales/orders/1.2.0/a.csv").read_text() == FILES["a.csv"]
    orders.run("umount", str(mnt))
    assert [r["address"] for r in orders.json("lineage reads", "--run", "r1")] == ["sales/orders/1.2.0/a.csv"]


def test_the_fstab_helper(orders, tmp_path):
    helper = tmp_path / "mount.fuse.meshfs"
    helper.symlink_to(orders.command()[0])
    mnt = tmp_path / "mnt"
    mnt.mkdir()
    run = lambda *a: subprocess.run([helper, *a], env=orders.environment(), capture_output=True, text=True, cwd="/")
    bad = run(str(orders.file), str(mnt), "-o", "purpos=x")
    assert bad.returncode == 2 and "purpose" in bad.stderr
    good = run(str(orders.file), str(mnt), "-o", "rw,noauto,purpose=training,x-systemd.automount")
    assert good.returncode == 0, good.stderr
    assert json.loads((mnt / ".mesh/status.json").read_text())["purpose"] == "training"
    orders.run("umount", str(mnt))


# -- other users -------------------------------------------------------------------------------

def as_user(uid, *command):
    return subprocess.run(["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *map(str, command)], capture_output=True, text=True)


@pytest.fixture
def open_folder(orders):
    """Other users may walk to the mount points."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    path = orders.folder
    changed = []
    while str(path) != "/":
        mode = path.stat().st_mode & 0o7777
        if not mode & 0o001:
            changed.append((path, mode))
            path.chmod(mode | 0o011)
        path = path.parent
    yield orders
    for path, mode in changed:
        path.chmod(mode)


def test_a_session_for_another_user_is_theirs_alone(open_folder):
    orders = open_folder
    with orders.mount("--user", "nobody") as m:
        a = m.path / "sales/orders/1.2.0/a.csv"
        assert os.stat(a).st_mode == 0o100400 and os.stat(a).st_uid == 65534 and os.stat(m.path).st_mode == 0o40500
        assert as_user(65534, "cat", a).stdout == FILES["a.csv"]
        stranger = as_user(1, "cat", a)
        assert stranger.returncode == 1 and "Permission denied" in stranger.stderr
        assert as_user(1, "ls", m.path).returncode != 0
        assert as_user(65534, "ls", orders.folder / "home/cache").returncode != 0
        status = json.loads((m.path / ".mesh/status.json").read_text())
        assert status["enforced"] and status["user"] == "nobody"


def test_unknown_users_are_refused(orders, tmp_path):
    done = detached(orders, tmp_path / "mnt", "--user", "no-such-user", status=1)
    assert "no such user" in done.stderr


# -- views -------------------------------------------------------------------------------------

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
schema:
  - name: people
    physicalName: "*.csv"
    logicalType: object
    properties:
      - {name: id, logicalType: integer, classification: public}
      - {name: email, logicalType: string, classification: restricted}
      - {name: age, logicalType: integer, classification: public}
"""


@pytest.fixture
def people(mesh, fuse):
    """A table whose e-mail column is dropped and whose minors are filtered for training."""
    mesh.domain("sales")
    lines = [f"{i},user{i}@example.org,{i % 60}\n" for i in range(60000)]
    contract = mesh.folder / "people.yaml"
    contract.write_text(CONTRACT)
    mesh.publish("sales/people/1.0.0", {"p.csv": "id,email,age\n" + "".join(lines), "notes.txt": "n\n"}, "--contract", contract)
    rules(mesh, "policy extra scope mesh version 1\n\ndrop emails\n  files sales/people/*/*.csv\n  columns named email\n"
                "  when purpose == training\n\nfilter adults\n  files sales/people/*/*.csv\n  rows row.age >= 18\n  when purpose == training\n")
    mesh.expected = "id,age\n" + "".join(f"{i},{i % 60}\n" for i in range(60000) if i % 60 >= 18)
    mesh.whole = "id,email,age\n" + "".join(lines)
    return mesh


def test_a_view_has_an_exact_size_and_the_allowed_bytes(people):
    with people.mount(purpose="training", run="r") as m:
        v = m.path / "sales/people/1.0.0"
        assert sorted(os.listdir(v)) == ["notes.txt", "p.csv"]
        assert os.stat(v / "p.csv").st_size == len(people.expected)
        for _ in range(3):
            assert (v / "p.csv").read_text() == people.expected
            time.sleep(0.2)
        with open(v / "p.csv", "rb") as f:
            for at in (0, 5, 100000, len(people.expected) - 7):
                assert os.pread(f.fileno(), 999, at) == people.expected.encode()[at:at + 999]
        assert b"email" in os.getxattr(v / "p.csv", "user.mesh.policy")
        assert "example.org" not in (v / ".mesh/manifest.csv").read_text()
        assert "email" not in (v / ".mesh/contract.yaml").read_text()
        readme = (v.parent / "README.md").read_text()
        columns, filtered = readme.split("## How it is filtered for you")
        assert "email" not in columns and "leaves out the column email" in filtered  # as policy.txt says
        tar = subprocess.run(["tar", "-C", v, "-cf", "-", "p.csv"], capture_output=True, check=True)
        assert tar.stderr == b"" and b"example.org" not in tar.stdout
    (read,) = [r for r in people.json("lineage reads", "--run", "r") if r["file"] == "p.csv"]
    assert len(read["view"]) == 64


def test_purposes_see_different_bytes_at_one_path(people):
    with people.mount(purpose="training") as one, people.mount(purpose="reporting") as two:
        path = "sales/people/1.0.0/p.csv"
        for _ in range(2):
            assert (one.path / path).read_text() == people.expected
            assert (two.path / path).read_text() == people.whole
