"""The interface as somebody meets it who has only the manual: odd command lines, what is printed where, and with which status."""
import errno
import fcntl
import os
import pwd
import subprocess

import pytest

from meshkit import binary, is_mounted


def orders(mesh, *versions):
    mesh.domain("sales")
    for version in versions or ("1.0.0",):
        mesh.publish(f"sales/orders/{version}", {"a.csv": f"id,v\n1,{version}\n", "sub/b.txt": "b\n"})


def says(mesh, *args, status, **options):
    """The one line that a command which fails leaves on stderr."""
    done = mesh.run(*args, status=status, **options)
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("meshfs: "), done.stderr
    return done.stderr


# -- command lines ---------------------------------------------------------------------------------

def test_help_is_a_command_too(mesh):
    usage = mesh.run("--help").stdout
    assert usage == mesh.run("help").stdout
    for words in (["publish"], ["policy", "explain"], ["lineage", "up"]):
        assert mesh.run("help", *words).stdout == mesh.run(*words, "--help").stdout
    assert "no such command" in says(mesh, "help", "nothing", status=2)


@pytest.mark.parametrize("option, hint", [("-q", "meshfs -q ls"), ("-v", "meshfs -v ls"), ("-m", "meshfs -m MESH ls")])
def test_options_of_the_program_stand_before_the_command(mesh, option, hint):
    assert hint in says(mesh, "ls", option, status=2)


def test_help_is_pointed_at_the_command_that_was_called(mesh):
    assert "'meshfs policy explain --help'" in says(mesh, "policy", "explain", "--nothing", status=2)
    assert "'meshfs lineage trace --help'" in says(mesh, "lineage", "trace", "sales", status=2)
    says(mesh, "version", "x", status=2)


def test_output_that_is_lost_is_a_failure(mesh):
    orders(mesh)
    mesh.publish("sales/many/1.0.0", {f"file-number-{i:05}.txt": "" for i in range(500)})
    more_than_a_buffer = ["ls", "--json", "sales/many/1.0.0"]
    for command in (["--help"], ["ls"], more_than_a_buffer):
        with open("/dev/full", "w") as full:
            done = subprocess.run([*mesh.command(), *command], stdout=full, stderr=subprocess.PIPE, text=True, env=mesh.environment())
        assert done.returncode == 1 and "cannot write the output" in done.stderr, (command, done)
    # a reader who has enough is no failure
    with subprocess.Popen([*mesh.command(), *more_than_a_buffer], stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=mesh.environment()) as reader:
        reader.stdout.close()
        assert (reader.stderr.read(), reader.wait(30)) == (b"", 0)


# -- addresses -------------------------------------------------------------------------------------

def test_selectors_stand_wherever_an_address_does(mesh):
    orders(mesh, "1.0.0", "1.1.0", "1.1.1", "2.0.0")
    for selector, version in (("latest", "2.0.0"), ("1", "1.1.1"), ("1.0", "1.0.0")):
        for command in ("show", "verify", "policy explain"):
            assert mesh.json(command, f"sales/orders/{selector}")[0]["address"] == f"sales/orders/{version}", command
        assert mesh.json("ls", f"sales/orders/{selector}")[0]["address"] == f"sales/orders/{version}/a.csv"
        mesh.run("warm", f"sales/orders/{selector}")
    mesh.publish("sales/orders/3.0.0", {"c.csv": "c\n"}, "--onto", "sales/orders/2")
    assert [f["address"] for f in mesh.json("ls", "sales/orders/3", "-R")] == [
        f"sales/orders/3.0.0/{f}" for f in ("a.csv", "c.csv", "sub", "sub/b.txt")]
    assert mesh.json("withdraw", "sales/orders/1", "--reason", "x")[0]["address"] == "sales/orders/1.1.1"
    assert mesh.json("withdraw", "sales/orders/latest", "--reason", "x")[0]["address"] == "sales/orders/3.0.0"
    assert [v["address"][-5:] for v in mesh.json("ls", "sales/orders") if v["status"] == "active"] == ["2.0.0", "1.1.0", "1.0.0"]
    assert "wants a version of sales/orders" in says(mesh, "publish", "sales/orders/4.0.0", mesh.folder / "policy", "--onto", "sales/x/1.0.0", status=2)


def test_a_withdrawn_version_is_not_warmed(mesh):
    orders(mesh)
    mesh.run("withdraw", "sales/orders/1.0.0", "--reason", "wrong prices")
    for command in ("ls", "verify", "warm"):
        assert "wrong prices" in says(mesh, command, "sales/orders/1.0.0", status=4)


def test_policy_explain_of_what_is_not_there(mesh):
    orders(mesh)
    assert mesh.json("policy explain", "sales/orders/1.0.0/sub")[0]["outcome"] == "allow"
    for address, why in (("sales/orders/1.0.0/none", "no such file"), ("sales/orders/2", "the newest is 1.0.0"), ("sales/order", "did you mean"),
                         ("sale/orders", "did you mean 'sales'")):
        assert why in says(mesh, "policy", "explain", address, status=4)


def test_policy_diff_over_products_without_a_contract(mesh):
    orders(mesh)
    rules = mesh.folder / "policy/sales.policy"
    old = mesh.folder / "old.policy"
    old.write_text(rules.read_text())
    rules.write_text(rules.read_text() + "\ndrop email\n  columns named email\n  when    purpose == training\n")
    assert mesh.json("policy diff", old, old) == []
    assert mesh.json("policy diff", old, rules)


def test_lineage_find_of_a_file_that_is_not_there(mesh):
    assert "no such file" in says(mesh, "lineage", "find", "/nonexistent/x.csv", status=4)


# -- surroundings ----------------------------------------------------------------------------------

def test_without_a_home_that_can_be_made_the_catalog_is_read_all_the_same(mesh):
    orders(mesh)
    nowhere = {k: "/proc/nowhere" for k in ("HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME")}
    done = mesh.run("ls", "sales", env=nowhere)
    assert "orders" in done.stdout and "is kept in" in done.stderr


def test_a_mount_holds_nothing_that_its_caller_had_open(mesh, fuse):
    orders(mesh)
    (point := mesh.folder / "mnt").mkdir()
    with open(mesh.folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.set_inheritable(lock.fileno(), True)
        subprocess.run([*mesh.command(), "mount", point], pass_fds=[lock.fileno()], env=mesh.environment(), check=True)
    try:
        with open(mesh.folder / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        mine, = [m for m in mesh.json("status") if m["kind"] == "mount"]
        assert mine["user"], mine
    finally:
        mesh.run("umount", point)
    assert not is_mounted(point)
    assert "mkdir" not in says(mesh, "umount", mesh.folder / "none", status=1)


def test_symlinks_list_no_attributes_that_cannot_be_read(mesh, fuse):
    mesh.domain("sales")
    folder = mesh.folder / "source"
    folder.mkdir()
    (folder / "a.csv").write_text("x\n")
    (folder / "link.csv").symlink_to("a.csv")
    mesh.publish("sales/orders/1.0.0", folder)
    with mesh.mount() as m:
        version = m.path / "sales/orders/1.0.0"
        for entry in os.scandir(version):
            for name in os.listxattr(entry.path, follow_symlinks=False):
                os.getxattr(entry.path, name, follow_symlinks=False)
        assert os.listxattr(version / "link.csv", follow_symlinks=False) == []
        assert "user.mesh.hash" in os.listxattr(version / "link.csv")
        with pytest.raises(OSError) as refused:
            os.setxattr(version / "a.csv", "user.x", b"1")
        assert refused.value.errno == errno.EROFS


def let_pass(folder):
    """Other users may go through it, and what it lies in."""
    for part in (folder, *folder.parents):
        if part.stat().st_uid == os.geteuid() and not part.stat().st_mode & 1:
            part.chmod(part.stat().st_mode | 0o11)


def test_a_session_is_its_users_alone(mesh, fuse, unprivileged):
    account, other = pwd.getpwuid(unprivileged[0]).pw_name, 1
    orders(mesh)
    (mesh.folder / "policy/z.policy").write_text(
        "policy z scope mesh version 1\n\nhide secrets\n  files sales/secret/**\n  when user == " + account + "\n")
    mesh.publish("sales/secret/1.0.0", {"a.csv": "x\n"})
    (point := mesh.folder / "mnt").mkdir()
    let_pass(mesh.folder)

    def as_user(uid, *command):
        return subprocess.run(command, user=uid, group=uid, extra_groups=[], capture_output=True, text=True, env=mesh.environment())

    mesh.run("mount", "--user", account, point)
    try:
        assert as_user(unprivileged[0], "ls", point / "sales").stdout.split() == ["README.md", "orders"]
        assert as_user(unprivileged[0], "cat", point / "sales/orders/1.0.0/a.csv").stdout == "id,v\n1,1.0.0\n"
        assert "meshfs_product_" not in as_user(unprivileged[0], "cat", point / ".mesh/metrics").stdout
        assert "Permission denied" in as_user(other, "ls", point / "sales").stderr
        for uid in (unprivileged[0], other):
            assert "only root can unmount it" in as_user(uid, binary(), "umount", point).stderr
    finally:
        mesh.run("umount", point)
    assert not is_mounted(point)


def test_fusermount_is_found_without_a_path(mesh, fuse, unprivileged):
    uid, group = unprivileged
    orders(mesh)
    let_pass(mesh.folder)
    (home := mesh.folder / "other").mkdir()
    (home / "mnt").mkdir()
    subprocess.run(["chown", "-R", f"{uid}:{group}", home, mesh.folder / "stores"], check=True)
    places = {k: str(home) for k in ("HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME", "XDG_RUNTIME_DIR")}
    for command in ("mount", "umount"):
        done = subprocess.run([*mesh.command(), command, home / "mnt"], user=uid, group=group, extra_groups=[], capture_output=True, text=True,
                              env=mesh.environment({**places, "PATH": "/nonexistent"}))
        assert (done.returncode, done.stderr) == (0, ""), command


# -- damage ------------------------------------------------------------------------------------------

def test_damage_in_the_store_ends_with_5_and_can_be_mended(mesh):
    orders(mesh)
    pack, = (mesh.folder / "stores/sales/.mesh/packs").iterdir()
    os.chmod(pack, 0o644)
    damaged = bytearray(pack.read_bytes())
    damaged[damaged.index(b"id,v")] ^= 1
    pack.write_bytes(damaged)
    assert "--fresh" in mesh.run("verify", "sales/orders/1.0.0", status=5).stderr
    assert "1 file could not be fetched: sales/orders/1.0.0/" in mesh.run("warm", "sales/orders", status=5).stderr
    source = mesh.folder / "again"
    (source / "sub").mkdir(parents=True)
    (source / "a.csv").write_text("id,v\n1,1.0.0\n")
    (source / "sub/b.txt").write_text("b\n")
    mesh.run("publish", "sales/orders/1.0.1", source)  # what lies in the store is used again, damage and all
    mesh.run("verify", "sales/orders/1.0.1", status=5)
    mesh.run("publish", "sales/orders/1.0.2", source, "--fresh")
    mesh.run("verify", "sales/orders/1.0.2")
    mesh.run("warm", "sales/orders")


# -- the mesh file and its URLs ------------------------------------------------------------------------

def test_a_link_to_the_mesh_file(mesh):
    orders(mesh)
    link = mesh.folder / "elsewhere/mesh.yaml"
    link.parent.mkdir()
    link.symlink_to("../mesh.yaml")
    command = [*mesh.command()[:2], link, "policy", "check"]
    check = lambda: subprocess.run(command, capture_output=True, text=True, env=mesh.environment())  # noqa: E731
    assert "1 rule loads" in check().stdout  # alone it means the mesh it leads to
    (link.parent / "policy").mkdir()
    assert "0 rules load" in check().stdout  # with a policy beside it, it is where it stands
    (link.parent / "policy").rmdir()
    subprocess.run([*command[:-2], "domain", "add", "more", mesh.folder / "more"], env=mesh.environment(), check=True, stdout=subprocess.DEVNULL)
    assert link.is_symlink() and "more:" in mesh.file.read_text() and (mesh.folder / "policy/more.policy").exists()


def test_file_urls_are_decoded(mesh):
    folder = mesh.folder / "a b%41ü+"
    mesh.domain("uri", folder.as_uri())
    assert (folder / ".mesh").is_dir() and "%2541" in folder.as_uri()
    mesh.publish("uri/orders/1.0.0", {"a.csv": "id\n1\n"})
    mesh.run("domain", "add", "path", folder.with_name("c d%41"))
    assert (mesh.folder / "c d%41/.mesh").is_dir()
    mesh.publish("path/orders/1.0.0", {"a.csv": "id\n1\n"})
    (folder / "lies-there.csv").write_text("id\n1\n")
    mesh.publish("uri/more/1.0.0", folder / "lies-there.csv", "--in-place")
    mesh.run("verify")
    assert "%25" in says(mesh, "domain", "add", "bad", "file:///srv/100%", status=2)


def test_words_that_are_none(mesh):
    orders(mesh)
    for word in ("", '"', "--", "orders ''"):
        assert "a letter or a digit" in says(mesh, "search", *(["orders", ""] if " " in word else ["--", word]), status=2)
    assert "one folder" in says(mesh, "init", "", status=2)


def test_what_is_denied_for_want_of_a_contract_is_said(mesh, fuse):
    orders(mesh)
    with mesh.mount(purpose="training") as m:
        version = m.path / "sales/orders/1.0.0"
        assert "all of it may be read" in (version / ".mesh/policy.txt").read_text()
    (mesh.folder / "policy/z.policy").write_text("policy z scope mesh version 1\n\ndrop mails\n  columns named email\n  when purpose == training\n")
    with mesh.mount(purpose="training") as m:
        version = m.path / "sales/orders/1.0.0"
        with pytest.raises(PermissionError):
            (version / "a.csv").read_text()
        assert "has no contract" in (version / ".mesh/policy.txt").read_text()
