"""Checks of type sql: words of others, which an engine answers within bounds: in time, in memory, and with nothing but the version's files."""
import errno
import json
import os
import signal
import subprocess
import threading
import time
from pathlib import Path

import pytest

from meshkit import CONTRACT_HEAD, wait_for

pytestmark = pytest.mark.skipif(not os.environ.get("MESHFS_DUCKDB"), reason="MESHFS_DUCKDB names no engine")

HEAD = CONTRACT_HEAD + """- name: t
  physicalName: "**/*.csv"
  properties:
  - {name: id, logicalType: integer, classification: public}
  quality:
"""
ENDLESS = ["select count(*) from range(1000000000000)", "with recursive r as (select 1 as i union all select i + 1 from r) select count(*) from r",
           "select levenshtein(repeat('a', 4000000), repeat('b', 4000000))"]
# The engine counts only some of the memory that these take.
GREEDY = ["select damerau_levenshtein(repeat('a', 40000), repeat('b', 40000))", "select length(string_agg(repeat('x', 100000), '')) from range(100000)",
          "select len(list(hash(i))) from range(1000000000) t(i)"]


def contract(*queries, wanted=0):
    return HEAD + "".join(f"  - {{type: sql, query: {json.dumps(q)}, mustBe: {wanted}}}\n" for q in queries)


@pytest.fixture
def shop(mesh):
    mesh.domain("d")
    return mesh


def limit(mesh, text):
    path = mesh.folder / "mesh.yaml"
    path.write_text(path.read_text() + f"sql_limit: {text}\n")


def make_draft(m, text, version="1.0.0", files=None):
    product = m.path / "d/p"
    if not product.exists():
        product.mkdir()
    draft = product / f"{version}.draft"
    draft.mkdir()
    (draft / ".mesh/contract.yaml").write_text(text)
    for name, content in (files or {"a.csv": "id\n1\n2\n"}).items():
        (draft / name).parent.mkdir(parents=True, exist_ok=True)
        (draft / name).write_text(content)
    return draft


def refused(draft):
    with pytest.raises(PermissionError):
        draft.rename(draft.with_suffix(""))
    return (draft / ".mesh/problems.txt").read_text()


def publish(draft):
    try:
        draft.rename(draft.with_suffix(""))
    except PermissionError:
        raise AssertionError((draft / ".mesh/problems.txt").read_text())


def workers(parent=None):
    """Processes that answer queries."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            if entry.name.isdigit() and (entry / "cmdline").read_bytes() == b"meshfs-sql\0":
                ppid = int((entry / "stat").read_text().rsplit(")", 1)[1].split()[1])
                if parent is None or ppid == parent:
                    found.append(int(entry.name))
        except OSError:
            pass
    return found


def gone(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except OSError:
        return True


def test_a_draft_answers_them(shop, fuse):
    with shop.mount() as m:
        draft = make_draft(m, contract("select count(*) - 5 from {object}"), files={"a.csv": "id\n1\n2\n", "k=1/b.csv": "id\n3\n"})
        assert "must be 0, is -2" in refused(draft)
        (draft / "c.csv").write_text("id\n4\n5\n")
        draft.rename(m.path / "d/p/1.0.0")
        found = json.loads((m.path / "d/p/1.0.0/.mesh/quality.json").read_text())
        assert [c["passed"] for c in found["checks"] if c["check"] == "sql"] == [True] and found["failed_errors"] == 0
        assert not workers(m.process.pid)


def test_names_that_are_patterns_to_the_engine(shop, tmp_path, fuse):
    files = {"a1.csv": "id\n1\n", "a*.csv": "id\n2\n3\n", "x[1]/a?.csv": "id\n4\n", "it's.csv": "id\n5\n"}
    with shop.mount() as m:
        make_draft(m, contract("select sum(id) from t", wanted=15), files=files).rename(m.path / "d/p/1.0.0")
    text = contract("select sum(id) from t", wanted=16)
    (tmp_path / "c.yaml").write_text(text)
    for name, content in files.items():
        (tmp_path / "in" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "in" / name).write_text(content)
    assert "is 15" in shop.run("publish", "d/q/1.0.0", tmp_path / "in", "--contract", tmp_path / "c.yaml", status=3).stderr
    assert "is 15" in shop.run("publish", "d/q/1.0.0", *sorted((tmp_path / "in").iterdir()), "--contract", tmp_path / "c.yaml", status=3).stderr


@pytest.mark.parametrize("query", ENDLESS)
def test_an_endless_query_ends(shop, tmp_path, fuse, query):
    limit(shop, "2s")
    shop.publish("d/other/1.0.0", {"a.csv": "id\n1\n"})
    shop.publish("d/p/0.1.0", {"a.csv": "id\n1\n"})
    with shop.mount() as m:
        draft = make_draft(m, contract("select 0", query, "select 1 - 1"))
        for path in ("d/p/0.1.0/a.csv", "d/other"):
            os.stat(m.path / path)
        slowest, done = 0.0, threading.Event()

        def others():
            nonlocal slowest
            while not done.is_set():
                started = time.monotonic()
                assert (m.path / "d/p/0.1.0/a.csv").read_text() == "id\n1\n"  # known before
                assert sorted(os.listdir(m.path / "d/other")) and (m.path / "d/other/1.0.0/a.csv").read_text()
                slowest = max(slowest, time.monotonic() - started)
                time.sleep(0.01)

        reader = threading.Thread(target=others)
        reader.start()
        started = time.monotonic()
        said = refused(draft)
        took = time.monotonic() - started
        done.set()
        reader.join()
        assert took < 6 and slowest < 1.5, (took, slowest)
        assert "stopped: the sql checks of a version have 2 s together; make the query cheaper, or raise sql_limit in mesh.yaml" in said
        assert said.count("not asked: the sql checks before it took the 2 s") == 1 and said.count("\nerror: ") == 2
        assert not workers(m.process.pid)
    (tmp_path / "c.yaml").write_text(contract(query))
    (tmp_path / "a.csv").write_text("id\n1\n")
    started = time.monotonic()
    done = shop.run("publish", "d/q/1.0.0", tmp_path / "a.csv", "--contract", tmp_path / "c.yaml", status=3)
    assert "stopped: the sql checks of a version have 2 s together" in done.stderr and time.monotonic() - started < 6


@pytest.mark.skipif("asan" in os.environ.get("MESHFS_BIN", "") or "tsan" in os.environ.get("MESHFS_BIN", ""), reason="a sanitizer's memory is not limited")
@pytest.mark.parametrize("query", GREEDY)
def test_a_greedy_query_ends(shop, fuse, query):
    limit(shop, "100s")
    with shop.mount() as m:
        draft = make_draft(m, contract(query, wanted=-1))
        most, done = 0, threading.Event()

        def watch():
            nonlocal most
            while not done.is_set():
                for pid in workers(m.process.pid):
                    try:
                        status = Path(f"/proc/{pid}/status").read_text()
                        most = max(most, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")))
                    except (OSError, TypeError):
                        pass
                time.sleep(0.02)

        watcher = threading.Thread(target=watch)
        watcher.start()
        said = refused(draft)
        done.set()
        watcher.join()
        assert "memory" in said and "make" in said and "cheaper" in said, said
        assert 0 < most < 2_600_000, most
        assert os.listdir(m.path) and not workers(m.process.pid)


def test_a_query_sees_the_version_and_nothing_else(shop, tmp_path, fuse):
    secret = tmp_path / "secret.csv"
    secret.write_text("id\n1\n")
    key = shop.folder / "mesh.yaml"
    with shop.mount() as m:
        other = make_draft(m, contract("select 0"), version="2.0.0", files={"theirs.csv": "id\n7\n"})
        theirs = [str(p) for p in (shop.folder / "home/state/meshfs/drafts").glob("*/files/theirs.csv")]
        assert len(theirs) == 1
        queries = [f"select count(*) from read_csv('{secret}')", f"select count(*) from read_text('{key}')", f"select count(*) from '{theirs[0]}'",
                   "select count(*) from read_text('/proc/self/environ')", "select count(*) from glob('/etc/*')", f"select count(*) from read_csv('{m.path}/*')",
                   f"copy (select 1) to '{tmp_path}/evil.csv'", f"attach '{tmp_path}/evil.db'", "install httpfs", "select 0; set enable_external_access = true",
                   "select count(*) from read_csv('https://127.0.0.1:1/a.csv')", f"select count(*) from read_parquet('{theirs[0]}/../../../**')"]
        said = refused(make_draft(m, contract(*queries, wanted=1)))
        assert said.count("refuses the query") == len(queries), said
        assert not list(tmp_path.glob("evil*")) and "id\n7" not in said
        other.rename(m.path / "d/p/2.0.0")


def test_a_symlink_is_no_way_out(shop, tmp_path, fuse):
    (tmp_path / "secret.csv").write_text("id\n41\n")
    with shop.mount() as m:
        draft = make_draft(m, contract("select sum(id) from t", wanted=3))
        (draft / "link.csv").symlink_to(tmp_path / "secret.csv")
        (draft / "folder").symlink_to(tmp_path)
        refused(draft)
        (draft / "link.csv").unlink()
        (draft / "folder").unlink()
        draft.rename(m.path / "d/p/1.0.0")


def test_queries_are_asked_ahead_of_the_rename(shop, fuse):
    """While a RENAME waits the kernel holds the product's folder, so that nothing new is found in it."""
    slow = "select count(*) - count(*) from range(100000000) a(i) where hash(i) % 7 = 3"
    shop.publish("d/p/0.1.0", {"a.csv": "id\n1\n"})
    shop.publish("d/p/0.2.0", {"a.csv": "id\n1\n"})
    with shop.mount() as m:
        draft = make_draft(m, contract(slow, "select count(*) - 3 from t"))
        wait_for(lambda: workers(m.process.pid), timeout=10, what="the queries")
        (draft / "b.csv").write_text("id\n3\n")  # they are asked in vain, and again
        first = workers(m.process.pid)
        wait_for(lambda: not set(first) & set(workers(m.process.pid)), timeout=5, what="the end of the first ones")
        wait_for(lambda: workers(m.process.pid), timeout=10, what="the queries again")
        wait_for(lambda: not workers(m.process.pid), timeout=60, what="their end")
        started = time.monotonic()
        publish(draft)
        assert time.monotonic() - started < 1
        # What changes after that is asked for again.
        draft = make_draft(m, contract("select count(*) - 3 from t", "select sum(id) - 6 from t"), version="1.1.0", files={"a.csv": "id\n1\n2\n3\n"})
        wait_for(lambda: workers(m.process.pid), timeout=10, what="the queries")
        wait_for(lambda: not workers(m.process.pid), timeout=10, what="their end")
        (draft / "a.csv").write_text("id\n1\n2\n4\n")
        assert "must be 0, is 1" in refused(draft)
        (draft / "a.csv").write_text("id\n1\n2\n3\n")
        publish(draft)
        assert not workers(m.process.pid)


def start_rename(m, draft):
    """A rename that waits for its query, by a process of its own."""
    mover = subprocess.Popen(["mv", str(draft), str(draft.with_suffix(""))], stderr=subprocess.PIPE, text=True)
    wait_for(lambda: workers(m.process.pid), timeout=10, what="the query")
    time.sleep(0.3)
    return mover, workers(m.process.pid)[0]


def test_a_mount_that_is_killed_takes_the_query_with_it(shop, fuse):
    with shop.mount() as m:
        draft = make_draft(m, contract(ENDLESS[0]))
        mover, worker = start_rename(m, draft)
        m.kill()
        wait_for(lambda: gone(worker), timeout=5, what="the end of the query")
        assert mover.wait(timeout=10) != 0
        mover.stderr.close()
    with shop.mount() as m:
        draft = m.path / "d/p/1.0.0.draft"
        assert (draft / "a.csv").read_text() == "id\n1\n2\n"
        (draft / ".mesh/contract.yaml").write_text(contract("select count(*) from t", wanted=2))
        draft.rename(m.path / "d/p/1.0.0")


def test_an_unmount_does_not_wait_for_a_query(shop, fuse):
    with shop.mount() as m:
        mover, worker = start_rename(m, make_draft(m, contract(ENDLESS[0])))
        started = time.monotonic()
        assert "is in use" in shop.run("umount", m.path, status=1).stderr  # by mv
        m.process.send_signal(signal.SIGTERM)
        m.process.wait(timeout=10)
        assert time.monotonic() - started < 5 and gone(worker)
        assert mover.wait(timeout=5) != 0
        mover.stderr.close()
    with shop.mount() as m:
        assert (m.path / "d/p/1.0.0.draft/a.csv").exists() and not (m.path / "d/p/1.0.0").exists()


def test_a_caller_who_gives_up_ends_the_query(shop, fuse):
    with shop.mount() as m:
        draft = make_draft(m, contract(ENDLESS[0]))
        mover, worker = start_rename(m, draft)
        started = time.monotonic()
        mover.send_signal(signal.SIGINT)
        assert mover.wait(timeout=10) != 0 and time.monotonic() - started < 3 and gone(worker)
        mover.stderr.close()
        (draft / ".mesh/contract.yaml").write_text(contract("select 0"))
        draft.rename(m.path / "d/p/1.0.0")


def test_an_interrupted_publish_ends_the_query(shop, tmp_path):
    (tmp_path / "c.yaml").write_text(contract(ENDLESS[0]))
    (tmp_path / "a.csv").write_text("id\n1\n")
    p = subprocess.Popen([*shop.command(), "publish", "d/p/1.0.0", str(tmp_path / "a.csv"), "--contract", str(tmp_path / "c.yaml")],
                         env=shop.environment(), stderr=subprocess.PIPE, text=True)
    wait_for(lambda: workers(p.pid), timeout=10, what="the query")
    time.sleep(0.5)
    worker = workers(p.pid)[0]
    p.send_signal(signal.SIGINT)
    assert p.wait(timeout=5) != 0 and gone(worker)
    assert "nterrupted" in p.stderr.read()
    p.stderr.close()
    shop.run("show", "d/p/1.0.0", status=4)


def test_the_limit_is_the_mesh_files(shop, tmp_path):
    limit(shop, "soon")
    assert "'sql_limit' wants a time from 1s to 1d" in shop.run("ls", status=2).stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="wants root")
def test_roots_mount_for_somebody_else(shop, fuse):
    """The query is his, the process root's: it has no more rights than to read, and no other file."""
    limit(shop, "20s")
    rules = shop.folder / "policy/d.policy"
    rules.write_text(rules.read_text() + "\npermit nobody to publish\n  files **\n  when user == nobody\n")
    for parent in shop.folder.parents:  # nobody has to get there
        if not os.stat(parent).st_mode & 0o001:
            os.chmod(parent, os.stat(parent).st_mode | 0o011)
    os.chmod(shop.folder, 0o755)
    with shop.mount("--user", "nobody") as m:
        script = f"""
import os
d = {str(m.path)!r} + '/d/p'
os.mkdir(d); d += '/1.0.0.draft'; os.mkdir(d)
open(d + '/.mesh/contract.yaml', 'w').write({contract(ENDLESS[0])!r})
open(d + '/a.csv', 'w').write('id\\n1\\n'); os.chmod(d + '/a.csv', 0o600)
os.rename(d, d[:-6])
"""
        p = subprocess.Popen(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "/usr/bin/python3", "-c", script], stderr=subprocess.PIPE, text=True)
        wait_for(lambda: workers(m.process.pid) or p.poll() is not None, timeout=10, what="the query")
        time.sleep(0.5)
        assert p.poll() is None, p.stderr.read()
        status = Path(f"/proc/{workers(m.process.pid)[0]}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        assert int(facts["CapEff"], 16) & ~(1 << 2) == 0 and facts["NoNewPrivs"] == "1"
        env = Path(f"/proc/{workers(m.process.pid)[0]}/environ").read_bytes()
        assert env.count(b"=") <= 1
        p.kill()
        p.wait(timeout=10)
        p.stderr.close()
        assert not workers(m.process.pid)
