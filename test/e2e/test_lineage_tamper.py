"""Tamper evidence from outside: whoever can write to the database edits it with SQLite, and `lineage verify` says what he did.

Every attack is made on a copy, which a mesh file of its own names, so that nothing is mended in between.
"""
import shutil
import sqlite3

import pytest

from meshkit import binary
from test_lineage import FILES, database, orders  # noqa: F401  (fixture)

STALE_INDEX = """
PRAGMA writable_schema = on;
CREATE TABLE kept AS SELECT * FROM sqlite_schema WHERE name = 'reads_by_file';
DELETE FROM sqlite_schema WHERE name = 'reads_by_file'
"""
RESTORED_INDEX = """
PRAGMA writable_schema = on;
INSERT INTO sqlite_schema SELECT * FROM kept;
DROP TABLE kept
"""


@pytest.fixture
def recorded(orders, tmp_path):  # noqa: F811
    """Three ended runs: one makes an output, one publishes, one is pruned."""
    outside = tmp_path / "model"
    orders.run("run", "--name", "pruned", "--", "sh", "-c", f'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[0]}')
    orders.run("lineage", "prune", "--before", "2200-01-01")
    orders.run("run", "--name", "made", "--output", outside, "--",
               "sh", "-c", f'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[1]} "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[2]} > {outside}')
    (tmp_path / "sums").mkdir()
    (tmp_path / "sums/sum.csv").write_text("n\n3\n")
    orders.run("run", "--name", "published", "--", "sh", "-c",
               f'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[3]}; {binary()} -m {orders.file} publish sales/sums/1.0.0 {tmp_path}/sums')
    orders.run("lineage", "down", "sales/orders/1.0.0")  # brings the publications over
    orders.run("lineage", "verify", "--head", tmp_path / "head")
    return orders


def attack(mesh, tmp_path, *scripts):
    """A copy of the database, and of the mesh file that names it, with the scripts run over it."""
    forged = tmp_path / "forged.db"
    for old in tmp_path.glob("forged.db*"):
        shutil.rmtree(old) if old.is_dir() else old.unlink()
    with sqlite3.connect(database(mesh)) as source, sqlite3.connect(forged) as target:
        source.backup(target)
    for script in scripts:  # a connection each: what one does to the schema the next one reads
        db = sqlite3.connect(forged)
        db.executescript(script)
        db.commit()
        db.close()
    text = mesh.file.read_text()
    mesh_file = mesh.folder / "forged.yaml"
    mesh_file.write_text("\n".join(line for line in text.splitlines() if not line.startswith("lineage:")) + f'\nlineage: {{ db: "{forged}" }}\n')
    return mesh_file


def verify(mesh, mesh_file, *args, status=0):
    return mesh.run("-m", mesh_file, "lineage", "verify", *args, mesh=False, check=status is not None, status=status)


ATTACKS = {
    "an edited run": "UPDATE runs SET purpose = 'x' WHERE name = 'made'",
    "an edited run, to be sealed again": "UPDATE runs SET purpose = 'x', unsealed = 1, sealed_parts = 0 WHERE name = 'made'",
    "a run begun again": "UPDATE runs SET ended_ns = NULL, unsealed = 1 WHERE name = 'made'",
    "a run that never was": "INSERT INTO runs(uuid, name, user, uid, started_ns, ended_ns, unsealed) VALUES('f', 'f', 'ana', 0, 1, 2, 0)",
    "a removed run": "DELETE FROM runs WHERE name = 'made'",
    "an edited read": "UPDATE reads SET opens = opens + 1 WHERE run = 2 AND file = (SELECT min(file) FROM reads WHERE run = 2)",
    "a removed read": "DELETE FROM reads WHERE run = 2 AND file = (SELECT min(file) FROM reads WHERE run = 2)",
    "all reads of a run removed": "DELETE FROM reads WHERE run = 2",
    "a read put in": "INSERT INTO reads SELECT 3, part, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 2",
    "a read put in on another day": "INSERT INTO reads SELECT run, 9, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 2",
    "a read put back after it was pruned": "INSERT INTO reads SELECT 1, part, file, decision, process, opens, bytes, first_ns, last_ns FROM reads WHERE run = 2",
    "reads that changed places": "UPDATE reads SET run = -1 WHERE run = 2; UPDATE reads SET run = 2 WHERE run = 3; UPDATE reads SET run = 3 WHERE run = -1",
    "a file with another name": "UPDATE files SET path = 'other.csv' WHERE path LIKE '%part-1.csv'",
    "a version with another name": "UPDATE versions SET address = 'sales/orders/0.9.0' WHERE address = 'sales/orders/1.0.0'",
    "a decision turned round": "UPDATE decisions SET outcome = 2",
    "an output with another hash": "UPDATE artifacts SET sha256 = 'ee'",
    "an output put in": "INSERT INTO artifacts(run, path, sha256, size, recorded_ns) SELECT run, '/other', 'ee', 1, 1 FROM artifacts",
    "totals of a pruned run": "UPDATE inputs SET opens = 9 WHERE run = 1",
    "a pruned run that looks whole": "UPDATE runs SET pruned_ns = NULL",
    "a whole run that looks pruned": "UPDATE runs SET pruned_ns = 5 WHERE name = 'made'",
    "an edited seal": "UPDATE seals SET row_count = 9 WHERE seq = 1",
    "an edited prune seal": "UPDATE seals SET digest = printf('%064d', 1) WHERE kind = 'prune'",
    "a removed prune seal": "DELETE FROM seals WHERE kind = 'prune'",
    "seals that changed places": "UPDATE seals SET seq = -1 WHERE seq = 1; UPDATE seals SET seq = 1 WHERE seq = 2; UPDATE seals SET seq = 2 WHERE seq = -1",
    "a truncated chain": "DELETE FROM seals WHERE seq > 2",
    "no seals at all": "DELETE FROM seals; UPDATE runs SET unsealed = 1, sealed_parts = 0",
    "a seal of an unheard-of kind": "INSERT INTO seals SELECT seq + 1, printf('%5000s', 'reads'), run, 5, row_count, digest, chain, sealed_ns FROM seals ORDER BY seq DESC LIMIT 1",
    "a trigger that drops records": "CREATE TRIGGER t AFTER INSERT ON reads BEGIN DELETE FROM reads WHERE run = new.run; END",
    "a view that hides a run": "DROP VIEW mesh_runs; CREATE VIEW mesh_runs AS SELECT uuid AS run, name FROM runs WHERE name <> 'made'",
    "a publication of another run": "UPDATE publications SET run = NULL",
    "a publication put in": "INSERT INTO versions VALUES(99, 'sales/orders/9.0.0', 'sales/orders', '9.0.0'); INSERT INTO publications VALUES(99, NULL, 1, 'aa', 'ana', 0)",
    "a removed publication": "DELETE FROM publications",
}


def test_every_attack_is_found(recorded, tmp_path):
    verify(recorded, attack(recorded, tmp_path), "--head", tmp_path / "head")
    kept = (tmp_path / "head").read_text()
    missed = []
    for name, script in ATTACKS.items():
        done = verify(recorded, attack(recorded, tmp_path, script), "--head", tmp_path / "head", status=None)
        if done.returncode != 5 or not done.stdout.startswith("changed: ") or "were changed by somebody" not in done.stderr:
            missed.append((name, done.returncode, done.stdout, done.stderr))
    assert not missed
    assert (tmp_path / "head").read_text() == kept


def test_a_row_that_an_index_lacks(recorded, tmp_path):
    """Some questions go by the index: they would not see the row that the seal is computed from."""
    row = "UPDATE reads SET opens = opens + 1 WHERE run = 2; UPDATE reads SET opens = opens - 1 WHERE run = 2"
    back = "CREATE TABLE r AS SELECT * FROM reads WHERE run = 2; DELETE FROM reads WHERE run = 2; INSERT INTO reads SELECT * FROM r; DROP TABLE r"
    mesh_file = attack(recorded, tmp_path, row, back)  # every row is as it was: no offence
    verify(recorded, mesh_file)
    gone = "CREATE TABLE r AS SELECT * FROM reads WHERE run = 2; DELETE FROM reads WHERE run = 2"
    mesh_file = attack(recorded, tmp_path, gone, STALE_INDEX, "INSERT INTO reads SELECT * FROM r; DROP TABLE r", RESTORED_INDEX)
    done = verify(recorded, mesh_file, status=5)
    assert "missing from index reads_by_file" in done.stdout


def test_an_older_database_put_in_its_place(recorded, tmp_path):
    mesh_file = attack(recorded, tmp_path)  # the old one
    recorded.run("run", "--name", "later", "--", "sh", "-c", f'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[4]}')
    recorded.run("lineage", "verify", "--head", tmp_path / "head")
    verify(recorded, mesh_file)  # by itself it is whole
    done = verify(recorded, mesh_file, "--head", tmp_path / "head", status=5)
    assert "an older database" in done.stdout


def test_triggers_do_not_run(recorded):
    with sqlite3.connect(database(recorded)) as db:
        db.execute("CREATE TRIGGER t AFTER INSERT ON reads BEGIN DELETE FROM reads WHERE run = new.run; END")
    recorded.run("run", "--name", "watched", "--", "sh", "-c", f'cat "$MESHFS_MOUNT"/sales/orders/1.0.0/{FILES[4]}')
    assert [row["file"] for row in recorded.json("lineage reads", "--run", "watched")] == [FILES[4]]


def test_what_was_edited_is_not_pruned(recorded, tmp_path):
    mesh_file = attack(recorded, tmp_path, "UPDATE reads SET opens = 9 WHERE run = 2")
    done = recorded.run("-m", mesh_file, "lineage", "prune", "--before", "2200-01-01", mesh=False, status=5)
    assert "changed after they were sealed, and are kept" in done.stderr
    done = verify(recorded, mesh_file, status=5)
    assert "run" in done.stdout and "not those that were sealed" in done.stdout
