"""Policy, end to end: what a reader of a mount gets, and what he can never get."""
import csv
import errno
import glob
import gzip
import io
import json
import mmap
import os
import random
import re
import shutil
import sqlite3
import stat
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
                    ["lineage", "reads"], ["lineage", "runs"], ["policy", "explain", "d/t0"], ["cache", "status"]])
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


@pytest.mark.parametrize("seed", range(int(os.environ.get("MESHFS_CANARY_SEEDS", "3"))))
def test_no_denied_value_is_ever_obtained(open_mesh, seed):
    mesh, scene = open_mesh, Scene(seed, ENGINE)
    mesh.run("policy", "key", "new", "k1")
    scene.visible("t0", mesh)
    scene.visible("t1", mesh)
    scene.parquet("pq", mesh)
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
    # The proof is worth something only if the rest was read.
    text = b"".join([*found.values(), *decoded(found).values()])
    missing = set(scene.shown) - set(re.findall(r"oky\w{17}v", text.decode(errors="replace")))
    assert scene.shown and not missing, f"{len(missing)} of {len(scene.shown)} allowed values were not served"
    for kind in ("csv", "tsv", "jsonl"):
        assert len([w for w in found if w.startswith("read ") and w.endswith(f"t0/1.0.0/{kind}.{kind}")]) == 1
    outcomes = {r["address"]: r["outcome"] for r in mesh.json("lineage reads", "--run", "r")}
    assert outcomes["d/no/1.0.0/a.csv"] == "denied" and outcomes["d/t0/1.0.0/csv.csv"] == "served"
