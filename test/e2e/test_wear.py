"""Wear: a cache folder that is removed under a mount, few descriptors, and many rounds that must leave nothing behind."""
import os
import random
import resource
import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from meshkit import wait_for
from test_views_limits import contract

FILES = 300


def content(i):
    return random.Random(i).randbytes(random.Random(-i - 1).choice([0, 1, 4096, 65537, 300000, 1100000 if i % 50 == 0 else 9000]))


def publish_many(mesh):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {f"d{i % 7}/{i}.bin": content(i) for i in range(FILES)})


def read_at_random(root, seed, count, may_fail=False):
    """How many reads failed."""
    draw, failed = random.Random(seed), 0
    for _ in range(count):
        i = draw.randrange(FILES)
        want = content(i)
        at = draw.randrange(len(want) + 1)
        try:
            with open(root / f"sales/orders/1.0.0/d{i % 7}/{i}.bin", "rb") as f:
                f.seek(at)
                got = f.read(draw.choice([10, 5000, 200000]))
        except OSError:
            if not may_fail:
                raise
            failed += 1
            continue
        assert got == want[at:at + len(got)] and (got or at == len(want)), f"{i} at {at}: {len(got)} wrong bytes"
    return failed


def remove_while_reading(cache, reading):
    """Removes the cache folder as long as somebody reads; gives what the readers gave.  The pause is for the readers, which need this process's interpreter lock
    as well: without it nine in ten rounds find nothing to remove, and on a busy machine the readers take ten times as long."""
    while not all(r.done() for r in reading):
        shutil.rmtree(cache, ignore_errors=True)
        time.sleep(0.001)
    return [r.result() for r in reading]


def test_the_cache_folder_is_removed_under_a_mount(mesh, fuse):
    publish_many(mesh)
    cache = mesh.folder / "home/cache"
    with mesh.mount() as m, ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read_at_random, m.path, seed, 300) for seed in range(4)]
        assert remove_while_reading(cache, reading) == [0] * 4
        read_at_random(m.path, 9, 100)


def test_the_cache_folder_is_removed_under_filtered_views(mesh, fuse):
    files = 60
    with_note = lambda i: "id,country,note\n" + "".join(f"{j},{'DE' if j % 3 else 'FR'},a note {j}\n" for j in range(i * 10, i * 10 + 40))
    view = lambda i: "id,country\n" + "".join(f"{j},DE\n" for j in range(i * 10, i * 10 + 40) if j % 3)
    mesh.domain("sales")
    contract(mesh.folder / "c.yaml", {"id": "integer", "country": "string", "note": "string"})
    (mesh.folder / "policy/p.policy").write_text(
        'policy p scope mesh version 1\n\nfilter f\n  files **\n  rows row.country == "DE"\n\ndrop e\n  columns named note\n')
    mesh.publish("sales/orders/1.0.0", {f"d{i % 7}/{i}.csv": with_note(i) for i in range(files)},
                 "--contract", mesh.folder / "c.yaml", "--with-failures", "as it is")
    cache = mesh.folder / "home/cache"

    def read(root, seed):
        draw = random.Random(seed)
        for _ in range(400):
            i = draw.randrange(files)
            path = root / f"sales/orders/1.0.0/d{i % 7}/{i}.csv"
            assert path.read_text() == view(i)
            assert path.name in os.listdir(path.parent)

    with mesh.mount() as m, ThreadPoolExecutor(4) as pool:
        reading = [pool.submit(read, m.path, seed) for seed in range(4)]
        remove_while_reading(cache, reading)


def test_few_descriptors(mesh, fuse):
    publish_many(mesh)
    with mesh.mount() as m, ThreadPoolExecutor(8) as pool:
        soft, hard = resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE)
        resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE, (len(os.listdir(f"/proc/{m.process.pid}/fd")) + 3, hard))
        list(pool.map(lambda seed: read_at_random(m.path, seed, 50, may_fail=True), range(8)))
        resource.prlimit(m.process.pid, resource.RLIMIT_NOFILE, (soft, hard))
        wait_for(lambda: read_at_random(m.path, 1, 20, may_fail=True) == 0, timeout=20, what="reads after descriptors were to be had again")
        read_at_random(m.path, 3, 200)


def usage(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return len(os.listdir(f"/proc/{pid}/fd")), int(status.split("Threads:")[1].split()[0])


def test_many_rounds_leave_nothing(mesh, fuse):
    publish_many(mesh)
    left = None
    for _ in range(int(os.environ.get("MESHFS_TEST_MOUNTS", 4))):
        with mesh.mount() as m:
            read_at_random(m.path, 1, 20)
        kept = {str(p) for top in (mesh.runtime.name, mesh.folder / "home/state") for p in Path(top).rglob("*")}
        assert left is None or kept <= left, kept - left
        left = kept
    with mesh.mount() as m:
        read_at_random(m.path, 2, 400)
        before = usage(m.process.pid)
        for seed in range(3):
            read_at_random(m.path, 2, 400)
        after = usage(m.process.pid)
        assert after[0] <= before[0] + 4 and after[1] <= before[1], (before, after)
