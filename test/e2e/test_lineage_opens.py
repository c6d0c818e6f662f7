"""Very many opens: what a client logged (opener.c) against the database, while the database is locked, its disk is full, and the mount is killed.

MESHFS_TEST_OPENS=5000000 opens as many; otherwise a few ten thousand.
"""
import collections
import contextlib
import os
import random
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from meshkit import unmount
from servers import tool
from test_faults import SmallDisk
from test_lineage import opens

OPENS = int(os.environ.get("MESHFS_TEST_OPENS", "40000"))
FILES, PROCESSES, THREADS = 3000, 4, 3
KILLS = 3 if OPENS < 10**6 else 20


@pytest.fixture
def many(mesh, fuse, tmp_path):
    """d/many/1.0.0 with 3,000 files; the lineage database on a disk of its own."""
    mesh.domain("d")
    mesh.publish("d/many/1.0.0", {f"{i % 100:02}/{i:05}": f"{i}\n" for i in range(FILES)})
    mesh.opener = tmp_path / "opener"
    subprocess.run([tool("cc", "gcc"), "-O2", "-pthread", "-o", mesh.opener, Path(__file__).with_name("opener.c")], check=True)
    mesh.logs = tmp_path
    (mesh.folder / "disk").mkdir()
    mesh.file.write_text(mesh.file.read_text() + "lineage: { db: disk/lineage.db }\n")
    return mesh


def opener(mesh, mount, name, count):
    log = mesh.logs / name
    return log, subprocess.Popen([mesh.opener, mount.path / "d/many/1.0.0", log, str(FILES), str(count), str(PROCESSES), str(THREADS)])


def logged(*logs):
    total = collections.Counter()
    for log in logs:
        for line in log.read_text().splitlines():
            name, count = line.split()
            total[f"d/many/1.0.0/{name}"] += int(count)
    return total


@contextlib.contextmanager
def now_and_then(act, rnd):
    """Beside what goes on in the block: `act`, at random moments."""
    over, failed = threading.Event(), []

    def loop():
        while not over.wait(rnd.uniform(0.2, 1.5)):
            try:
                act()
            except Exception as e:  # pylint: disable=broad-except
                failed.append(e)

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
    assert not failed, failed


def locker(path, rnd):
    def lock():
        with contextlib.closing(sqlite3.connect(path, isolation_level=None, timeout=30)) as db:
            db.execute("BEGIN IMMEDIATE")
            time.sleep(rnd.uniform(0.1, 2))
            db.execute("ROLLBACK")
    return lock


def filler(disk, rnd):
    def fill():
        disk.fill()
        time.sleep(rnd.uniform(0.1, 2))
        disk.empty()
    return fill


@pytest.mark.timeout(7200)
@pytest.mark.parametrize("trouble", ["none", "locked", "full"])
def test_every_open_counts(many, trouble):
    rnd = random.Random(trouble)
    beside, disk = contextlib.nullcontext(), contextlib.nullcontext()
    if trouble == "full":
        disk = SmallDisk(many.folder / "disk", "400m")
    with disk:
        m = many.mount(run="r", check_noise=trouble != "full")
        with m:
            if trouble == "locked":
                beside = now_and_then(locker(many.folder / "disk/lineage.db", rnd), rnd)
            elif trouble == "full":
                beside = now_and_then(filler(disk, rnd), rnd)
            start = time.monotonic()
            with beside:
                log, client = opener(many, m, "log", OPENS // 4)
                assert client.wait() == 0
            took = time.monotonic() - start
        answered = logged(log)
        assert sum(answered.values()) >= OPENS // 4 - PROCESSES * THREADS
        assert opens(many) == answered
        print(f"{trouble}: {sum(answered.values())} opens in {took:.0f} s, {sum(answered.values()) / took:.0f} a second")
        many.run("lineage", "verify")


@pytest.mark.timeout(7200)
def test_every_open_counts_though_mounts_are_killed(many):
    rnd, logs = random.Random(9), []
    for i in range(KILLS):
        mount = many.mount(run=f"kill-{i}", check_noise=False)
        mount.start()
        log, client = opener(many, mount, f"log-{i}", OPENS)
        logs.append(log)
        time.sleep(rnd.uniform(0.2, 1.5) if OPENS < 10**6 else rnd.uniform(0.2, 10))
        mount.kill()
        assert client.wait() == 0
        unmount(mount.path)
        mount.stop(check=False)
    recorded, answered = opens(many), logged(*logs)
    assert not answered - recorded, "an open was answered and is not on record"
    extra = sum((recorded - answered).values())
    assert extra <= KILLS * (PROCESSES * THREADS + 1), "opens are on record that nobody made"  # those under way when it was killed may be
    assert sum(answered.values()) > 1000 * KILLS
    print(f"killed {KILLS} times: {sum(answered.values())} opens answered, {extra} more on record that were under way")
    many.run("lineage", "verify")
