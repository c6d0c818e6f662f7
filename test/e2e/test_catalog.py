"""init, domain add|ls, ls, show, search: what a person sees of a catalog."""
import json
import os
import shutil
import signal
import subprocess
import threading

import pytest

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: orders
name: All orders
version: 1.0.0
status: active
description:
  purpose: What customers ordered, by day
tags: [finance]
schema:
  - name: orders
    physicalName: "*.csv"
    properties:
      - name: order_id
        logicalType: integer
      - name: email
        logicalType: string
        classification: restricted
        tags: [pii]
"""


def published(mesh, domain="sales", product="orders", version="1.0.0", files=None, contract=None):
    args = []
    if contract:
        path = mesh.folder / f"{product}-contract.yaml"
        path.write_text(contract)
        args = ["--contract", str(path)]
    mesh.publish(f"{domain}/{product}/{version}", files or {"a.csv": "order_id,email\n1,x\n"}, *args)


# -- init and domain add -------------------------------------------------------------------------

def test_init_makes_a_mesh_once(mesh):
    assert mesh.file.read_text().count("mesh: acme") == 1
    assert "policy mesh scope mesh version 1" in (mesh.folder / "policy/mesh.policy").read_text()
    before = mesh.file.read_text()
    again = mesh.run("init", str(mesh.folder), mesh=False, status=1)
    assert "already" in again.stderr
    assert mesh.file.read_text() == before


def test_init_names_the_mesh_after_its_folder(meshes, tmp_path):
    mesh = meshes(init=False)
    mesh.run("init", "Acme Data", cwd=tmp_path, mesh=False)
    assert "mesh: acme-data\n" in (tmp_path / "Acme Data/mesh.yaml").read_text()
    mesh.run("init", "x", "--name", "Not OK", cwd=tmp_path, mesh=False, status=2)
    assert not (tmp_path / "x/mesh.yaml").exists()


def test_domain_add_keeps_comments_and_writes_only_its_policy(mesh):
    text = "# ours\nmesh: acme\ndomains:\n  # people\n  hr: { store: /nowhere/hr }   # theirs\npolicy: policy/\n"
    mesh.file.write_text(text)
    before = {p.name: p.read_text() for p in (mesh.folder / "policy").iterdir()}
    mesh.run("domain", "add", "sales", "stores/sales", "--owner", 'Sales "S" <s@x>')
    lines = mesh.file.read_text().splitlines()
    assert [x for x in lines if not x.lstrip().startswith("sales:")] == text.splitlines()
    after = {p.name: p.read_text() for p in (mesh.folder / "policy").iterdir()}
    new = after.pop("sales.policy")
    assert after == before
    assert "policy sales scope domain sales version 1\n" in new and "\npermit everyone\n" in new
    assert (mesh.folder / "stores/sales/.mesh/heads/1").exists()
    assert oct((mesh.folder / "stores/sales/.mesh").stat().st_mode & 0o777) == "0o700"
    listed = {d["domain"]: d for d in mesh.json("domain ls")}
    assert listed["sales"]["owner"] == 'Sales "S" <s@x>' and listed["sales"]["status"] == "ok"
    assert listed["sales"]["store"] == f"file://{mesh.folder}/stores/sales"
    assert listed["hr"]["status"] == "never reached"


@pytest.mark.parametrize("name, url, status", [
    ("sales", "stores/again", 1), ("Sales", "stores/x", 2), (".mesh", "stores/x", 2), ("x", "ftp://h/x", 2),
    ("x", "s3://key:secret@bucket", 2), ("x", "file://relative", 2),
])
def test_domain_add_refuses(mesh, name, url, status):
    mesh.domain("sales")
    before = mesh.file.read_text()
    done = mesh.run("domain", "add", name, url, status=status)
    assert "secret" not in done.stderr
    assert mesh.file.read_text() == before
    assert sorted(p.name for p in (mesh.folder / "policy").iterdir()) == ["mesh.policy", "sales.policy"]


def test_a_store_that_belongs_to_another_domain_is_refused(mesh):
    store = mesh.domain("sales")
    done = mesh.run("domain", "add", "health", store, status=1)
    assert "another domain" in done.stderr
    assert [d["domain"] for d in mesh.json("domain ls")] == ["sales"]


def test_two_domain_adds_at_once_both_stay(mesh):
    names = [f"d{i}" for i in range(4)]
    threads = [threading.Thread(target=mesh.run, args=("domain", "add", n, f"stores/{n}")) for n in names]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert {d["domain"] for d in mesh.json("domain ls")} == set(names)


def test_a_mesh_shares_a_store_that_has_a_catalog(meshes):
    one, two = meshes(), meshes()
    store = one.domain("sales")
    published(one)
    two.domain("sales", store)
    assert [x["address"] for x in two.json("ls", "sales")] == ["sales/orders"]


# -- ls, show, search ----------------------------------------------------------------------------

def test_ls_from_domains_to_files(mesh):
    mesh.domain("sales")
    published(mesh, contract=CONTRACT, files={"a.csv": "order_id,email\n1,x\n", "sub/b.txt": "12345", "sub/deep/c.txt": "1"})
    published(mesh, version="1.10.0", files={"a.csv": "order_id,email\n2,yy\n"})
    published(mesh, version="1.9.0", files={"a.csv": "order_id,email\n3,zzz\n"})
    (domain,) = mesh.json("ls")
    assert (domain["address"], domain["kind"], domain["status"]) == ("sales", "domain", "ok")
    (product,) = mesh.json("ls", "sales")
    assert (product["address"], product["kind"], product["size"], product["status"]) == ("sales/orders", "product", 20, "active")
    versions = mesh.json("ls", "/sales/orders/")
    assert [v["address"] for v in versions] == [f"sales/orders/{n}" for n in ("1.10.0", "1.9.0", "1.0.0")]
    assert all(set(v) == {"address", "kind", "size", "modified", "status"} for v in versions)
    files = {f["address"]: f for f in mesh.json("ls", "sales/orders/1.0.0")}
    assert set(files) == {"sales/orders/1.0.0/a.csv", "sales/orders/1.0.0/sub"}
    assert files["sales/orders/1.0.0/a.csv"]["size"] == 19 and files["sales/orders/1.0.0/a.csv"]["kind"] == "file"
    assert files["sales/orders/1.0.0/sub"]["kind"] == "folder"
    assert [f["address"] for f in mesh.json("ls", "sales/orders/1.0/sub/")] == ["sales/orders/1.0.0/sub/b.txt", "sales/orders/1.0.0/sub/deep"]
    assert [f["address"] for f in mesh.json("ls", "-R", "sales/orders/1.0.0/sub")] == [
        "sales/orders/1.0.0/sub/b.txt", "sales/orders/1.0.0/sub/deep", "sales/orders/1.0.0/sub/deep/c.txt"]
    assert [f["address"] for f in mesh.json("ls", "sales/orders/latest")] == ["sales/orders/1.10.0/a.csv"]
    assert [f["size"] for f in mesh.json("ls", "sales/orders/1.9.0/a.csv")] == [21]
    assert "1.10.0" in mesh.run("ls", "sales/orders").stdout


def test_names_from_outside_neither_drive_the_terminal_nor_break_json(mesh):
    mesh.domain("sales")
    folder = mesh.folder / "odd"
    folder.mkdir()
    for name in (b"a\nb", b"\x1b[31mred", b"\xff\xfe", b"x" * 255):
        with open(os.path.join(os.fsencode(folder), name), "w") as f:
            f.write("1")
    mesh.publish("sales/odd/1.0.0", str(folder))
    out = mesh.run("ls", "sales/odd/1.0.0", text=False).stdout
    assert b"\x1b" not in out and b"\xff" not in out and out.count(b"\n") == 4
    assert len(mesh.json("ls", "sales/odd/1.0.0")) == 4


@pytest.mark.parametrize("address, says", [
    ("nowhere", "no such domain"), ("sale", "did you mean 'sales'"), ("sales/order", "did you mean 'orders'"),
    ("sales/orders/3.0.0", "the newest is 1.0.0"), ("sales/orders/1.0.0/none.csv", "no such file"),
])
def test_what_is_not_there_exits_4(mesh, address, says):
    mesh.domain("sales")
    published(mesh)
    for command in ("ls", "show"):
        done = mesh.run(command, address, status=4)
        assert says in done.stderr and done.stderr.count("\n") == 1


@pytest.mark.parametrize("address", ["sales/orders/one", "Sales", "sales/orders/1.0.0/../x"])
def test_wrong_addresses_exit_2(mesh, address):
    mesh.domain("sales")
    for command in ("ls", "show"):
        mesh.run(command, address, status=2)


def test_show(mesh):
    mesh.domain("sales")
    published(mesh, contract=CONTRACT)
    (domain,) = mesh.json("show", "sales")
    assert domain["kind"] == "domain" and domain["products"] == ["orders"] and domain["generation"] == 2
    (product,) = mesh.json("show", "sales/orders")
    assert product["title"] == "All orders" and product["latest"] == "1.0.0" and product["status"] == "active"
    assert product["description"] == "What customers ordered, by day" and product["tags"] == ["finance"]
    assert [(c["name"], c["classification"], c["tags"]) for c in product["columns"]] == [("order_id", None, []), ("email", "restricted", ["pii"])]
    assert [v["version"] for v in product["versions"]] == ["1.0.0"]
    (version,) = mesh.json("show", "sales/orders/latest")
    assert version["address"] == "sales/orders/1.0.0" and version["files"] == 1 and version["bytes"] == 19
    (file,) = mesh.json("show", "sales/orders/1/a.csv")
    sums = shutil.which("xxhsum")
    assert file["size"] == 19 and len(file["hash"]) == 32
    if sums:
        out = subprocess.run([sums, "-H2"], input="order_id,email\n1,x\n", capture_output=True, text=True).stdout
        assert out.split()[0] == file["hash"]
    for address in ("sales", "sales/orders", "sales/orders/1.0.0", "sales/orders/1.0.0/a.csv"):
        assert address in mesh.run("show", address).stdout


def test_withdrawn_versions(mesh):
    mesh.domain("sales")
    published(mesh)
    published(mesh, version="1.1.0", files={"a.csv": "order_id,email\n2,y\n"})
    if mesh.run("withdraw", "--help", check=False).returncode:
        pytest.skip("withdraw is not built in")
    mesh.run("withdraw", "sales/orders/1.1.0", "--reason", "wrong prices")
    assert [(v["address"], v["status"]) for v in mesh.json("ls", "sales/orders")] == [
        ("sales/orders/1.1.0", "withdrawn"), ("sales/orders/1.0.0", "active")]
    assert [f["address"] for f in mesh.json("ls", "sales/orders/latest")] == ["sales/orders/1.0.0/a.csv"]
    assert "wrong prices" in mesh.run("ls", "sales/orders/1.1.0", status=4).stderr
    assert mesh.json("show", "sales/orders/1.1.0")[0]["withdrawn"] == "wrong prices"


def test_search_ranks_over_all_domains(mesh):
    for domain in ("sales", "support"):
        mesh.domain(domain)
    published(mesh, contract=CONTRACT)
    published(mesh, "sales", "prices")
    published(mesh, "support", "tickets", contract=CONTRACT.replace("All orders", "Tickets").replace("What customers ordered", "About orders"))
    hits = mesh.json("search", "orders")
    assert [h["address"] for h in hits] == ["sales/orders", "support/tickets"]
    assert set(hits[0]) == {"address", "score", "title"} and hits[0]["score"] > hits[1]["score"] > 0
    assert [h["address"] for h in mesh.json("search", "EMAIL", "tick")] == ["support/tickets"]
    assert mesh.json("search", "orders", "nothing") == []
    assert mesh.json("search", '"', "NEAR(", "*") == []
    assert len(mesh.json("search", "orders", "--limit", "1")) == 1
    mesh.run("search", status=2)
    dead = mesh.run("domain", "add", "dead", "http://127.0.0.1:9/mesh", status=1).stderr
    assert "Failed to connect" in dead and dead.endswith("(check that the server is up, and its address in mesh.yaml)\n")
    assert [h["address"] for h in mesh.json("search", "tickets")] == [h["address"] for h in mesh.json("search", "ticket")] == ["support/tickets"]
    nothing = mesh.run("search", "tickts")
    assert nothing.stdout == "" and nothing.stderr == "meshfs: nothing was found (did you mean 'tickets'? support/tickets)\n"
    assert "nothing was found; every word must be there" in mesh.run("search", "zebra").stderr
    assert mesh.run("-q", "search", "zebra").stderr == mesh.run("search", "--json", "zebra").stderr == ""


# -- stores that are away or wrong -----------------------------------------------------------------

def test_a_store_that_is_away_is_shown_as_last_seen(mesh):
    mesh.domain("sales")
    mesh.domain("health")
    published(mesh)
    mesh.json("ls", "sales/orders/1.0.0")
    (mesh.folder / "stores/sales").rename(mesh.folder / "stores/away")
    done = mesh.run("ls", "--json")
    assert done.stderr.count("\n") == 1 and "last seen" in done.stderr
    assert {x["address"]: x["status"] for x in map(json.loads, done.stdout.splitlines())} == {"sales": "unreachable", "health": "ok"}
    assert [x["address"] for x in mesh.json("ls", "sales/orders/1.0.0")] == ["sales/orders/1.0.0/a.csv"]
    assert [x["address"] for x in mesh.json("search", "orders")] == ["sales/orders"]
    mesh.run("publish", "sales/orders/1.1.0", str(mesh.file), check=False)
    assert not (mesh.folder / "stores/sales/.mesh/heads").exists()


def test_a_store_that_went_backwards_is_told_and_the_newer_kept(mesh):
    mesh.domain("sales")
    published(mesh)
    store = mesh.folder / "stores/sales"
    shutil.copytree(store, mesh.folder / "old")
    published(mesh, version="1.1.0", files={"a.csv": "order_id,email\n2,y\n"})
    shutil.rmtree(store)
    (mesh.folder / "old").rename(store)
    done = mesh.run("ls", "sales/orders")
    assert "went backwards" in done.stderr and "1.1.0" in done.stdout
    assert "went backwards" in mesh.run("publish", "sales/orders/1.2.0", str(mesh.file), status=5).stderr


@pytest.mark.parametrize("damage", ["truncate", "flip", "newer", "gone"])
def test_damaged_catalogs_are_told(meshes, damage):
    one, two = meshes(), meshes()
    store = one.domain("sales")
    published(one)
    two.domain("sales", store)
    published(one, version="1.1.0", files={"a.csv": "order_id,email\n2,y\n"})
    folder = one.folder / "stores/sales/.mesh"
    head = json.loads((folder / "heads/3").read_text())
    snapshot = folder / "snapshots" / head["snapshot"]
    data = bytearray(snapshot.read_bytes())
    if damage == "truncate":
        snapshot.write_bytes(data[:-4096])
    elif damage == "flip":
        data[len(data) // 2] ^= 1
        snapshot.write_bytes(data)
    elif damage == "gone":
        snapshot.unlink()
    else:
        head["format"] = 2
        (folder / "heads/3").write_text(json.dumps(head))
    done = two.run("ls", "sales/orders")
    assert [x.split()[-1] for x in done.stdout.splitlines()] == ["1.0.0"]  # what was seen before stays
    assert ("newer meshfs" if damage == "newer" else "sales") in done.stderr
    (two.folder / "home/cache").rename(two.folder / "home/cache-old")
    two.run("ls", "sales/orders", status=1 if damage == "newer" else 5)


def test_http_domains_are_read_only(mesh, nginx, tmp_path):
    maker = mesh
    maker.domain("sales", (tmp_path / "www/mesh").as_uri())
    published(maker)
    subprocess.run(["chmod", "-R", "a+rX", str(tmp_path / "www")], check=True)
    maker.file.write_text("mesh: acme\n")
    (maker.folder / "policy/sales.policy").unlink()
    done = maker.run("domain", "add", "sales", f"{nginx.url}/nothing", check=False)
    if "not a store" in done.stderr:
        pytest.skip("http stores are not built in")
    assert done.returncode in (1, 4) and "sales" not in maker.file.read_text()
    maker.domain("sales", f"{nginx.url}/mesh")
    assert [x["address"] for x in maker.json("ls", "sales/orders/1.0.0")] == ["sales/orders/1.0.0/a.csv"]
    assert maker.json("domain ls")[0]["access"] == "read only"
    assert "read only" in maker.run("publish", "sales/orders/2.0.0", str(maker.file), status=1).stderr


def test_killed_publishers_leave_whole_catalogs(mesh):
    mesh.domain("sales")
    published(mesh)
    source = mesh.folder / "big.csv"
    source.write_text("order_id,email\n" + "1,x\n" * 20000)
    for i in range(8):
        process = subprocess.Popen([*mesh.command(), "publish", f"sales/big/1.{i}.0", str(source)], env=mesh.environment(), cwd=mesh.folder,
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            process.wait(0.01 + i * 0.012)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
        assert [x["address"] for x in mesh.json("ls", "sales/orders")] == ["sales/orders/1.0.0"]
    published(mesh, version="1.1.0", files={"a.csv": "order_id,email\n2,y\n"})
    assert len(mesh.json("ls", "sales/orders")) == 2
