"""Publishing through the mount: drafts, written by tools that know only files."""
import errno
import json
import mmap
import os
import shutil
import subprocess
import sys
import tarfile
import threading
import time

import pytest

from meshkit import wait_for

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: orders
name: orders
version: 1.0.0
status: active
schema:
  - name: orders
    physicalName: "*.csv"
    properties:
      - name: id
        logicalType: integer
        required: true
        unique: true
      - name: amount
        logicalType: number
"""


@pytest.fixture
def sales(mesh, fuse):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"orders.csv": "id,amount\n1,5\n2,7\n"})
    return mesh


def fails(number, call, *args, **kw):
    with pytest.raises(OSError) as caught:
        call(*args, **kw)
    assert caught.value.errno == number, caught.value


def folders(mesh):
    base = mesh.folder / "home/state/meshfs/drafts"
    return sorted(os.listdir(base)) if base.exists() else []


def test_a_draft_is_a_folder_and_its_rename_publishes(sales):
    with sales.mount() as m:
        product = m.path / "sales/orders"
        draft = product / "1.1.0.draft"
        draft.mkdir()
        assert "1.1.0.draft" in os.listdir(product)
        (draft / "sub").mkdir()
        (draft / "sub/a.txt").write_text("hello\n")
        with open(draft / "sub/a.txt", "a") as f:
            f.write("again\n")
        (draft / "run.sh").write_text("#!/bin/sh\n")
        os.chmod(draft / "run.sh", 0o755)
        os.symlink("sub/a.txt", draft / "link")
        (draft / "gone").write_text("x")
        (draft / "gone").unlink()
        (draft / "old").write_text("renamed")
        os.rename(draft / "old", draft / "new")
        os.utime(draft / "new", (1000, 2000))
        assert (draft / "sub/a.txt").read_text() == "hello\nagain\n"
        assert sorted(os.listdir(draft)) == ["link", "new", "run.sh", "sub"]
        os.rename(draft, product / "1.1.0")
        version = product / "1.1.0"
        assert sorted(os.listdir(version)) == ["link", "new", "run.sh", "sub"]
        assert (version / "sub/a.txt").read_text() == "hello\nagain\n"
        assert (version / "link").read_text() == "hello\nagain\n"
        assert os.stat(version / "run.sh").st_mode & 0o111 and not os.stat(version / "new").st_mode & 0o111
        assert int(os.stat(version / "new").st_mtime) == 2000
        assert os.readlink(product / "latest") == "1.1.0"
        assert not (product / "1.1.0.draft").exists()
        fails(errno.EROFS, (version / "more").write_text, "x")
        wait_for(lambda: not folders(sales), timeout=10, what="the folder to go")
    assert sales.json("show", "sales/orders/1.1.0")[0]["address"] == "sales/orders/1.1.0"
    sales.run("verify", "sales/orders/1.1.0")


def test_a_file_is_written_like_any_file(sales):
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        path = draft / "data.bin"
        with open(path, "w+b") as f:
            f.write(b"0123456789" * 100000)
            f.flush()
            os.fsync(f.fileno())
            f.seek(5)
            f.write(b"XXX")
            f.truncate(500001)
            assert os.fstat(f.fileno()).st_size == 500001
            f.seek(0)
            assert f.read(10) == b"01234XXX89"
        with open(path, "r+b") as f, mmap.mmap(f.fileno(), 0) as view:
            view[100000:100004] = b"mmap"
        os.truncate(path, 400000)
        os.posix_fallocate(fd := os.open(path, os.O_RDWR), 0, 400010)
        os.close(fd)
        expected = bytearray(b"0123456789" * 40000 + bytes(10))
        expected[5:8] = b"XXX"
        expected[100000:100004] = b"mmap"
        assert path.read_bytes() == expected
        with open(draft / "unlinked", "w+b") as f:
            os.unlink(draft / "unlinked")
            f.write(b"still here")
            f.seek(0)
            assert f.read() == b"still here" and os.fstat(f.fileno()).st_size == 10
        fails(errno.EEXIST, os.link, path, path)
        fails(errno.EEXIST, os.mkdir, draft / ".mesh")
        (draft / "sub").mkdir()
        fails(errno.EPERM, os.mkdir, draft / "sub/.mesh")
        (draft / "sub").rmdir()
        fails(errno.EPERM, (draft / ".mesh/other").write_text, "x")
        os.rename(draft, m.path / "sales/orders/1.1.0")
        assert (m.path / "sales/orders/1.1.0/data.bin").read_bytes() == expected
        assert os.listdir(m.path / "sales/orders/1.1.0") == ["data.bin"]


def test_what_changes_after_it_was_uploaded_is_what_is_published(sales):
    """Files are fed early; those that are written again, moved or removed are not what was fed."""
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        (draft / ".mesh/contract.yaml").write_text(CONTRACT)
        for i in range(4):
            (draft / f"orders-{i}.csv").write_text(f"id,amount\n{i},1\n")
        time.sleep(1.5)
        (draft / "orders-0.csv").write_text("id,amount\n100,1\n101,2\n")
        (draft / "orders-1.csv").unlink()
        (draft / "orders-1.csv").mkdir()
        (draft / "orders-1.csv/x.txt").write_text("a folder now")
        os.rename(draft / "orders-2.csv", draft / "moved.csv")
        with open(draft / "orders-3.csv", "a") as f:
            f.write("33,4\n")
        os.rename(draft, m.path / "sales/orders/1.1.0")
        version = m.path / "sales/orders/1.1.0"
        assert sorted(os.listdir(version)) == ["moved.csv", "orders-0.csv", "orders-1.csv", "orders-3.csv"]
        assert (version / "orders-0.csv").read_text() == "id,amount\n100,1\n101,2\n"
        assert (version / "orders-1.csv/x.txt").read_text() == "a folder now"
        assert (version / "orders-3.csv").read_text() == "id,amount\n3,1\n33,4\n"
        quality = json.loads((version / ".mesh/quality.json").read_text())
        assert quality["rows"] == 5, quality
    sales.run("verify", "sales/orders/1.1.0")


def test_folders_that_went_are_not_published(sales):
    """Files are taken up before the rename; the folders that they came with must go when these go."""
    with sales.mount() as m:
        product = m.path / "sales/tree"
        product.mkdir()
        draft = product / "1.0.0.draft"
        (draft / "a/sub/deep").mkdir(parents=True)
        for name in ("a/f", "a/sub/g", "a/sub/deep/h", "b", "kept/x", "kept/y/z"):
            (draft / name).parent.mkdir(parents=True, exist_ok=True)
            (draft / name).write_text(name)
        time.sleep(1)  # they are taken up
        (draft / "a").rename(draft / "moved")
        shutil.rmtree(draft / "kept/y")
        (draft / "b").unlink()
        (draft / "b").mkdir()
        (draft / "b/in").write_text("now a folder")
        time.sleep(1)
        shutil.rmtree(draft / "moved/sub/deep")
        (draft / "moved/sub/g").unlink()
        (draft / "moved/sub").rmdir()
        (draft / "moved/sub").symlink_to("f")
        wanted = sorted(str(p.relative_to(draft)) for p in draft.rglob("*"))
        draft.rename(product / "1.0.0")
        got = product / "1.0.0"
        assert sorted(str(p.relative_to(got)) for p in got.rglob("*")) == wanted == ["b", "b/in", "kept", "kept/x", "moved", "moved/f", "moved/sub"]
        assert (got / "moved/sub").read_text() == "a/f"


def test_a_draft_that_breaks_its_contract_says_why_and_can_be_mended(sales):
    with sales.mount() as m:
        product = m.path / "sales/orders"
        draft = product / "1.1.0.draft"
        draft.mkdir()
        (draft / ".mesh/contract.yaml").write_text(CONTRACT)
        (draft / "orders.csv").write_text("id,amount\n1,5\n1,6\n,7\n")
        fails(errno.EPERM, os.rename, draft, product / "1.1.0")
        problems = (draft / ".mesh/problems.txt").read_text()
        assert "refused" in problems and "orders.csv" in problems and "unique" in problems, problems
        fails(errno.EACCES, open, draft / ".mesh/problems.txt", "w")
        moved = subprocess.run(["mv", "1.1.0.draft", "1.1.0"], cwd=product, capture_output=True, text=True)
        assert moved.returncode == 1 and "not permitted" in moved.stderr
        (draft / "orders.csv").write_text("id,amount\n1,5\n2,6\n3,7\n")
        subprocess.run(["mv", "1.1.0.draft", "1.1.0"], cwd=product, check=True)
        assert (product / "1.1.0/orders.csv").read_text().endswith("3,7\n")
        assert "unique" in (product / "1.1.0/.mesh/contract.yaml").read_text()
        # Inherited from here on; a smaller step than the contract asks for is refused.
        (product / "1.1.1.draft").mkdir()
        (product / "1.1.1.draft/.mesh/contract.yaml").write_text(CONTRACT.replace("      - name: amount\n        logicalType: number\n", ""))
        (product / "1.1.1.draft/orders.csv").write_text("id\n1\n")
        fails(errno.EPERM, os.rename, product / "1.1.1.draft", product / "1.1.1")
        assert "major" in (product / "1.1.1.draft/.mesh/problems.txt").read_text()
        shutil.rmtree(product / "1.1.1.draft")
        assert not (product / "1.1.1.draft").exists()
        wait_for(lambda: not folders(sales), timeout=10, what="the folder to go")
        os.mkdir(product / "1.2.0.draft")
        (product / "1.2.0.draft/.mesh/contract.yaml").write_text("kind: [")
        fails(errno.EPERM, os.rename, product / "1.2.0.draft", product / "1.2.0")
        assert ".mesh/contract.yaml:2:1:" in (product / "1.2.0.draft/.mesh/problems.txt").read_text()


def test_a_rename_waits_for_nobody_who_still_writes(sales):
    with sales.mount() as m:
        product = m.path / "sales/orders"
        (product / "1.1.0.draft").mkdir()
        with open(product / "1.1.0.draft/a", "w") as f:
            f.write("x")
            f.flush()
            fails(errno.EBUSY, os.rename, product / "1.1.0.draft", product / "1.1.0")
            f.write("y")
        os.rename(product / "1.1.0.draft", product / "1.1.0")
        assert (product / "1.1.0/a").read_text() == "xy"


def test_names_that_no_draft_can_have(sales):
    with sales.mount() as m:
        product = m.path / "sales/orders"
        fails(errno.EEXIST, os.mkdir, product / "1.0.0.draft")
        fails(errno.EROFS, os.mkdir, product / "1.1.0")
        fails(errno.EROFS, os.mkdir, product / "x.draft")
        fails(errno.EROFS, os.mkdir, m.path / "other")
        fails(errno.EINVAL, os.mkdir, m.path / "sales/Bad Name")
        (product / "1.1.0.draft").mkdir()
        fails(errno.EEXIST, os.mkdir, product / "1.1.0.draft")
        assert not (product / "1.1.0.draft/.mesh/problems.txt").exists()
        fails(errno.EPERM, os.rename, product / "1.1.0.draft", product / "1.2.0")
        assert "mv 1.1.0.draft 1.1.0; not 1.2.0" in (product / "1.1.0.draft/.mesh/problems.txt").read_text()
        fails(errno.EPERM, os.rename, product / "1.1.0.draft", m.path / "sales/x")
        (product / "1.1.0.draft/a").write_text("a")
        fails(errno.ENOTEMPTY, os.rmdir, product / "1.1.0.draft")
        fails(errno.EROFS, os.rename, product / "1.1.0.draft/a", product / "1.0.0/a")
        fails(errno.EROFS, os.rename, product / "1.0.0/orders.csv", product / "1.1.0.draft/b")
        os.symlink("/etc/passwd", product / "1.1.0.draft/out")
        fails(errno.EPERM, os.rename, product / "1.1.0.draft", product / "1.1.0")
        assert "lead out" in (product / "1.1.0.draft/.mesh/problems.txt").read_text()


def test_a_new_product_begins_with_a_folder(sales):
    with sales.mount() as m:
        product = m.path / "sales/new"
        product.mkdir()
        assert "new" in os.listdir(m.path / "sales")
        (m.path / "sales/empty").mkdir()
        (m.path / "sales/empty").rmdir()
        assert not (m.path / "sales/empty").exists()
        (product / "1.0.0.draft").mkdir()
        fails(errno.ENOTEMPTY, product.rmdir)
        (product / "1.0.0.draft/a.csv").write_text("x\n1\n")
        os.rename(product / "1.0.0.draft", product / "1.0.0")
        assert (product / "latest/a.csv").read_text() == "x\n1\n"
        assert "1.0.0" in (product / "README.md").read_text()
    assert "sales/new" in [line["address"] for line in sales.json("ls", "sales")]


def test_a_killed_mount_leaves_its_drafts_for_the_next(sales):
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        (draft / "kept.csv").write_text("x\n1\n")
        other = sales.mount(path=sales.folder / "other")
        with other:  # another session: it sees nothing of it, nor takes it up
            assert "1.1.0.draft" not in os.listdir(other.path / "sales/orders")
            fails(errno.ENOENT, os.stat, other.path / "sales/orders/1.1.0.draft/kept.csv")
        m.kill()
    left = folders(sales)
    assert len(left) == 1
    base = sales.folder / "home/state/meshfs/drafts"
    assert os.stat(base).st_mode & 0o777 == 0o700 and os.stat(base / left[0]).st_mode & 0o777 == 0o700
    with sales.mount(path=sales.folder / "next") as m:
        assert (m.path / "sales/orders/1.1.0.draft/kept.csv").read_text() == "x\n1\n"
        os.rename(m.path / "sales/orders/1.1.0.draft", m.path / "sales/orders/1.1.0")
        assert (m.path / "sales/orders/1.1.0/kept.csv").read_text() == "x\n1\n"
    assert folders(sales) == []


def test_a_draft_has_a_limit(sales):
    with sales.mount(env={"MESHFS_DRAFT_LIMIT": "1MiB"}) as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        fails(errno.ENOSPC, (draft / "big").write_bytes, bytes(2 << 20))
        (draft / "big").unlink()
        (draft / "fits").write_bytes(bytes(1 << 20))
        fails(errno.ENOSPC, (draft / "more").write_bytes, b"x")
        os.truncate(draft / "fits", 10)
        (draft / "more").write_bytes(bytes(1000))
        assert os.statvfs(draft).f_bavail < 256


def test_only_who_is_permitted_may_publish(sales, unprivileged):
    uid, gid = unprivileged
    rules = sales.folder / "policy/sales.policy"
    path = sales.folder / "nobody"
    for parent in sales.folder.parents:  # nobody has to get there
        if not os.stat(parent).st_mode & 0o001:
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
    os.chmod(sales.folder, 0o755)
    draft = path / "sales/orders/1.1.0.draft"
    with sales.mount("--user", "nobody", path=path):
        def as_nobody(command):
            return subprocess.run(["sh", "-c", command], user=uid, group=gid, extra_groups=[], capture_output=True, text=True)
        assert "Permission denied" in as_nobody(f"mkdir {draft}").stderr
        rules.write_text(rules.read_text() + '\npermit sellers to publish\n  files sales/orders/**\n  when user == nobody\n')
        wait_for(lambda: as_nobody(f"mkdir {draft}").returncode == 0, timeout=15, what="the rule to be in force")
        assert "Permission denied" in as_nobody(f"mkdir {path}/sales/other").stderr
        done = as_nobody(f"echo hi > {draft}/a && cd {path}/sales/orders && mv 1.1.0.draft 1.1.0 && cat 1.1.0/a")
        assert done.returncode == 0 and done.stdout == "hi\n", done
    assert sales.json("show", "sales/orders/1.1.0")[0]["address"] == "sales/orders/1.1.0"


ETL = """
import os, sys, subprocess, tarfile
import pandas as pd
import duckdb
mesh = os.environ["MESHFS_MOUNT"]
orders = pd.read_csv(f"{mesh}/sales/orders/1.0.0/orders.csv")
out = f"{mesh}/sales/report/1.0.0.draft"
os.mkdir(f"{mesh}/sales/report")
os.mkdir(out)
orders.to_parquet(f"{out}/orders.parquet")
orders.groupby("id").sum().to_csv(f"{out}/sums.csv")
duckdb.sql(f"COPY (SELECT * FROM read_csv('{mesh}/sales/orders/1.0.0/orders.csv')) TO '{out}/duck.parquet' (FORMAT parquet)")
subprocess.run(["tar", "xf", sys.argv[1], "-C", out], check=True)
if len(sys.argv) > 3:
    subprocess.run(["rsync", "-a", sys.argv[2] + "/", out + "/synced/"], check=True)
subprocess.run(["mv", out, f"{mesh}/sales/report/1.0.0"], check=True)
assert len(pd.read_parquet(f"{mesh}/sales/report/1.0.0/orders.parquet")) == 2
"""


def test_etl_that_knows_only_paths_carries_its_lineage(sales):
    pytest.importorskip("pandas")
    pytest.importorskip("duckdb")
    pytest.importorskip("pyarrow")
    source = sales.folder / "tree"
    for i in range(200):
        (source / f"d{i % 7}").mkdir(parents=True, exist_ok=True)
        (source / f"d{i % 7}/f{i}.txt").write_text(f"{i}\n")
    with tarfile.open(sales.folder / "tree.tar", "w") as tar:
        tar.add(source, "unpacked")
    script = sales.folder / "etl.py"
    script.write_text(ETL)
    rsync = ["rsync"] if shutil.which("rsync") else []
    sales.run("run", "--name", "nightly", "--", sys.executable, script, sales.folder / "tree.tar", source, *rsync, timeout=300)
    up = sales.run("lineage", "up", "sales/report/1.0.0").stdout
    assert "sales/orders/1.0.0" in up and "nightly" in up, up
    with sales.mount() as m:
        version = m.path / "sales/report/1.0.0"
        assert {"orders.parquet", "sums.csv", "duck.parquet", "unpacked"} <= set(os.listdir(version))
        assert (version / "unpacked/d3/f3.txt").read_text() == "3\n"
        assert sum(len(files) for _, _, files in os.walk(version / "unpacked")) == 200
        if rsync:
            assert sum(len(files) for _, _, files in os.walk(version / "synced")) == 200


def test_many_write_at_once(sales):
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()

        def work(n):
            (draft / f"t{n}").mkdir()
            for i in range(40):
                (draft / f"t{n}/tmp{i}").write_bytes(os.urandom(1000) + b"%d" % i)
                os.rename(draft / f"t{n}/tmp{i}", draft / f"t{n}/f{i}")
        threads = [threading.Thread(target=work, args=(n,)) for n in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        os.rename(draft, m.path / "sales/orders/1.1.0")
        files = [f for _, _, files in os.walk(m.path / "sales/orders/1.1.0") for f in files]
        assert len(files) == 240 and all(f.startswith("f") for f in files)


def test_hard_links_are_copies(sales, tmp_path):
    """tar, cp and rsync want the name and the bytes; in a version each name is a file of its own."""
    source = tmp_path / "source"
    (source / "sub").mkdir(parents=True)
    (source / "one").write_bytes(os.urandom(3 << 20))
    os.chmod(source / "one", 0o755)
    os.utime(source / "one", (10**9, 10**9))
    os.link(source / "one", source / "sub/two")
    os.symlink("one", source / "link")
    os.link(source / "link", source / "link2", follow_symlinks=False)
    subprocess.run(["tar", "cf", tmp_path / "a.tar", "-C", source, "."], check=True)
    with sales.mount(env={"MESHFS_DRAFT_LIMIT": "20MiB"}) as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        for name, command in {"t": ["tar", "xf", tmp_path / "a.tar", "-C"], "c": ["cp", "-a", f"{source}/."], "r": ["rsync", "-aH", f"{source}/"]}.items():
            (draft / name).mkdir()
            subprocess.run([*command, draft / name], check=True)
            assert (draft / name / "sub/two").read_bytes() == (source / "one").read_bytes() and os.readlink(draft / name / "link2") == "one"
            st = os.stat(draft / name / "sub/two")
            assert (st.st_mtime, st.st_mode & 0o777, st.st_nlink) == (10**9, 0o755, 1)
        fails(errno.ENOSPC, os.link, draft / "t/one", draft / "t/three")  # 18 MiB are there
        assert not (draft / "t/three").exists()
        shutil.rmtree(draft / "c")
        os.link(draft / "t/one", draft / "t/three")
        (draft / "t/three").write_bytes(b"changed")
        assert (draft / "t/one").read_bytes() == (source / "one").read_bytes()
        fails(errno.EEXIST, os.link, draft / "t/one", draft / "t/three")
        fails(errno.EPERM, os.link, draft / "t/one", draft / ".mesh/contract.yaml")
        fails(errno.EXDEV, os.link, m.path / "sales/orders/1.0.0/orders.csv", draft / "published")
        fails(errno.EPERM, os.link, draft / "t", draft / "folder")
        draft.rename(m.path / "sales/orders/1.1.0")
        assert (m.path / "sales/orders/1.1.0/t/sub/two").read_bytes() == (source / "one").read_bytes()
        assert (m.path / "sales/orders/1.1.0/t/three").read_bytes() == b"changed"


def test_a_contract_that_is_none(sales):
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        for text, why in {"not: [yaml": "contract.yaml:", "kind: DataContract\n": "apiVersion", "\0\0": "not a data contract", "#" * (5 << 20): "larger than"}.items():
            (draft / ".mesh/contract.yaml").write_text(text)
            fails(errno.EPERM, draft.rename, m.path / "sales/orders/1.1.0")
            assert why in (draft / ".mesh/problems.txt").read_text()
        (draft / ".mesh/contract.yaml").unlink()
        draft.rename(m.path / "sales/orders/1.1.0")


def test_owners_are_not_kept(sales, tmp_path):
    """Root's tar, cp and rsync name the owners of what they copy."""
    if os.geteuid():
        pytest.skip("wants root")
    (tmp_path / "in/sub").mkdir(parents=True)
    (tmp_path / "in/sub/a").write_text("a")
    subprocess.run(["chown", "-R", "1234:555", tmp_path / "in"], check=True)
    subprocess.run(["tar", "cf", tmp_path / "a.tar", "-C", tmp_path / "in", "."], check=True)
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        for command in (["tar", "xf", tmp_path / "a.tar", "-C"], ["cp", "-a", tmp_path / "in"], ["rsync", "-a", tmp_path / "in"]):
            subprocess.run([*command, draft], check=True)
        assert os.stat(draft / "sub/a").st_uid == 0
        draft.rename(m.path / "sales/orders/1.1.0")


def test_what_a_kill_leaves_of_a_published_draft_is_no_draft(sales):
    with sales.mount() as m:
        draft = m.path / "sales/orders/1.1.0.draft"
        draft.mkdir()
        (draft / "a").write_text("a")
        m.kill()
    name, = folders(sales)
    base = sales.folder / "home/state/meshfs/drafts"
    os.rename(base / name, base / f"{name},gone")  # as it is called from the commit on
    with sales.mount() as m:
        assert "1.0.0" in os.listdir(m.path / "sales/orders") and "1.1.0.draft" not in os.listdir(m.path / "sales/orders")
        assert folders(sales) == []


def test_a_mount_may_publish_very_many_drafts(sales):
    """Neither threads nor descriptors of drafts that are over pile up."""
    with sales.mount() as m:
        product = m.path / "sales/many"
        product.mkdir()

        def publish(numbers):
            for i in numbers:
                draft = product / f"1.{i}.0.draft"
                draft.mkdir()
                (draft / "a").write_text(str(i))
                draft.rename(product / f"1.{i}.0")

        def stacks():
            with open(f"/proc/{m.process.pid}/maps") as maps:
                return len(maps.readlines())
        publish(range(20))
        before = stacks()
        publish(range(20, 60))
        assert stacks() < before + 40  # a stack and its guard each would be 80
        wait_for(lambda: not folders(sales), timeout=10, what="the folders to go")
        gone = [os.readlink(f"/proc/{m.process.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{m.process.pid}/fd")]
        assert sum("/drafts/" in target for target in gone) < 10
