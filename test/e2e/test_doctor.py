"""status and doctor: what is there, what is wrong, what to do."""
import json
import os
import pwd


from meshkit import unmount


def findings(mesh, **env):
    done = mesh.run("doctor", "--json", check=False, env=env or None)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def of(found, check, status=None):
    return [f for f in found if f["check"] == check and status in (None, f["status"])]


def problems(found):
    """But for what the machine itself lacks."""
    return [f for f in found if f["status"] == "problem" and f["check"] not in ("fuse", "fusermount3")]


def test_a_mesh_in_order(mesh):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    _, found = findings(mesh)
    assert not problems(found), found
    assert {"fuse", "fusermount3", "passthrough", "engine", "binding", "mesh", "policy", "cache", "lineage", "store"} <= \
        {f["check"] for f in found}
    assert all(f["status"] in ("ok", "warning", "problem") for f in found)
    assert "can be written" in of(found, "store", "ok")[0]["detail"]


def test_no_mesh(meshes):
    mesh = meshes(init=False)
    status, found = findings(mesh)
    assert status == 1 and of(found, "mesh", "problem")[0]["advice"]


def test_a_mesh_file_that_does_not_parse(mesh):
    mesh.file.write_text("mesh: acme\npolcy: policy/\n")
    status, found = findings(mesh)
    (problem,) = of(found, "mesh", "problem")
    assert status == 1 and "mesh.yaml:2" in problem["detail"] and problem["advice"] is None


def test_a_policy_that_does_not_parse(mesh):
    (mesh.folder / "policy" / "bad.policy").write_text("policy bad scope mesh version 1\n\nfroth everything\n")
    status, found = findings(mesh)
    assert status == 1
    (problem,) = of(found, "policy", "problem")
    assert "bad.policy:3" in problem["detail"]
    assert of(found, "mesh", "ok"), "the rest is still looked at"


def test_rules_that_everyone_may_write(mesh):
    (mesh.folder / "policy").chmod(0o777)
    status, found = findings(mesh)
    assert status == 1 and "can be written by everyone" in of(found, "policy", "problem")[0]["detail"]


def test_a_key_that_others_can_read(mesh):
    mesh.run("policy", "key", "new", "train-1")
    assert of(findings(mesh)[1], "key", "ok")
    (key,) = (mesh.folder / "keys").iterdir()
    key.chmod(0o644)
    status, found = findings(mesh)
    assert status == 1 and "train-1" in of(found, "key", "problem")[0]["detail"]


def test_a_cache_that_others_can_enter(mesh):
    mesh.domain("sales")
    mesh.run("cache", "status")
    folder = mesh.json("cache", "status")[0]["folder"]
    os.chmod(folder, 0o755)
    status, found = findings(mesh)
    assert status == 1 and of(found, "cache", "problem")[0]["advice"] == "chmod 700"


def test_a_store_that_is_gone(mesh):
    store = mesh.domain("sales").removeprefix("file://")
    os.rename(store, f"{store}.away")
    status, found = findings(mesh)
    assert status == 1 and "sales" in of(found, "store", "problem")[0]["detail"]
    (domain,) = [s for s in mesh.json("status") if s["kind"] == "domain"]
    assert domain["reachable"] is False and domain["problem"] and domain["generation"] == 1


def test_a_store_that_others_can_read(mesh):
    store = mesh.domain("sales").removeprefix("file://")
    os.chmod(f"{store}/.mesh", 0o755)
    assert "past every rule" in of(findings(mesh)[1], "store", "warning")[0]["detail"]


def test_text_and_quiet(mesh):
    text = mesh.run("doctor", check=False).stdout
    assert "ok       policy       0 rules load\n" in text
    quiet = mesh.run("-q", "doctor", check=False).stdout
    assert "ok  " not in quiet


def test_status_without_mounts(mesh):
    mesh.domain("sales")
    kinds = [s["kind"] for s in mesh.json("status")]
    assert kinds == ["cache", "lineage", "domain"]
    assert mesh.run("status").stdout.startswith("mount    none\n")


def test_status_of_a_mount(mesh, fuse):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    with mesh.mount(purpose="training") as m:
        (m.path / "sales/orders/1.0.0/a.csv").read_text()
        rows = mesh.json("status")
        (mount,) = [s for s in rows if s["kind"] == "mount"]
        assert mount["mountpoint"] == str(m.path) and mount["purpose"] == "training" and mount["alive"] is True
        assert mount["pid"] == m.process.pid and mount["mesh"] == "acme"
        (lineage,) = [s for s in rows if s["kind"] == "lineage"]
        assert lineage["journals"] == 1 and lineage["bytes"] > 0
        (domain,) = [s for s in rows if s["kind"] == "domain"]
        assert domain["reachable"] is True and domain["generation"] == 2 and domain["modified"]
        assert of(findings(mesh)[1], "mount", "ok")
    assert not [s for s in mesh.json("status") if s["kind"] == "mount"]


def test_a_mount_that_was_killed(mesh, fuse):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "x\n1\n"})
    with mesh.mount() as m:
        (m.path / "sales/orders/1.0.0/a.csv").read_text()
        m.kill()
        (mount,) = [s for s in mesh.json("status") if s["kind"] == "mount"]
        assert mount["alive"] is False
        status, found = findings(mesh)
        assert status == 1 and "killed" in of(found, "mount", "problem")[0]["detail"]
        unmount(m.path)
    assert not of(findings(mesh)[1], "mount")


def test_the_lineage_database_is_its_owners_alone(mesh):
    mesh.run("lineage", "runs")
    (row,) = [f for f in findings(mesh)[1] if f["check"] == "lineage"]
    assert row["status"] == "ok"
    assert os.stat(row["detail"]).st_mode & 0o777 == 0o600
    os.chmod(row["detail"], 0o644)
    assert of(findings(mesh)[1], "lineage", "warning")[0]["advice"] == "chmod 600"


def test_status_names_whom_a_mount_is_for(mesh):
    mesh.domain("sales")
    with mesh.mount(purpose="training") as m:
        (mount,) = [line for line in mesh.json("status") if line.get("mountpoint") == str(m.path)]
        assert (mount["user"], mount["purpose"]) == (pwd.getpwuid(os.getuid()).pw_name, "training")
