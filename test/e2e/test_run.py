"""meshfs run: exit status, signals, terminal, environment, private mounts, background children, outputs, nesting."""
import hashlib
import os
import pty
import pwd
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

from meshkit import binary, is_mounted
from servers import wait_for

pytestmark = pytest.mark.usefixtures("fuse")


@pytest.fixture
def orders(mesh):
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "id\n1\n", "b.csv": "id\n2\n"})
    return mesh


def start(mesh, *args, **options):
    return subprocess.Popen([*mesh.command(), "run", *map(str, args)], env=mesh.environment(), cwd=mesh.folder, text=True, **options)


@pytest.mark.parametrize("command,status", [
    (["true"], 0), (["sh", "-c", "exit 7"], 7), (["sh", "-c", "kill -TERM $$"], 143), (["sh", "-c", "kill -9 $$"], 137),
    (["no-such-command-anywhere"], 127), (["/etc/passwd"], 126), (["sh", "-c", "exit 255"], 255),
])
def test_exit_status(orders, command, status):
    orders.run("run", "--", *command, status=status)
    assert orders.json("lineage runs")[0]["exit"] == status


def test_own_failures_are_125(orders):
    orders.run("run", status=125)
    orders.run("run", "--param", "nonsense", "--", "true", status=125)
    orders.run("run", "--at", "nowhere", "--", "true", status=125)
    assert "no such user" in orders.run("run", "--user", "nobody-of-that-name", "--", "true", status=125).stderr


@pytest.mark.parametrize("option", ["--name", "--purpose"])
@pytest.mark.parametrize("word", ["", "a\nb", "\x1b[31m", "x" * 300, b"\xff"])
def test_words_that_would_break_a_line(orders, option, word):
    done = orders.run("run", option, word.decode(errors="surrogateescape") if isinstance(word, bytes) else word, "--", "true", status=125)
    assert option in done.stderr and "see 'meshfs run --help'" in done.stderr
    (orders.folder / "m").mkdir(exist_ok=True)
    if isinstance(word, str):
        orders.run("mount", orders.folder / "m", option.replace("--name", "--run"), word, status=2)
    assert orders.json("lineage runs") == []


def test_nothing_recorded_drives_a_terminal(orders, tmp_path):
    program = tmp_path / "c\x1b[31mat\nx"
    shutil.copy(shutil.which("cat"), program)
    orders.run("run", "--name", "<b>&", "--purpose", "a'b", "--output", tmp_path / "out\x1b[1m", "--", "sh", "-c",
               f"'{program}' $MESHFS_MOUNT/sales/orders/1.0.0/a.csv > '{tmp_path}/out\x1b[1m'")
    for words in (("runs",), ("reads",), ("up", tmp_path / "out\x1b[1m"), ("down", "sales/orders/1.0.0"), ("summary", "<b>&"), ("replay", "<b>&")):
        out = orders.run("lineage", *words).stdout
        assert out and "\x1b" not in out
    assert len(orders.run("lineage", "reads").stdout.splitlines()) == len(orders.run("lineage", "runs").stdout.splitlines()) == 1


def test_what_the_command_sees(orders, tmp_path):
    done = orders.run("run", "--purpose", "training", "--name", "see", "--param", "lr=0.1", "--param", "lr=0.2", "--", "sh", "-c",
                      'echo $MESHFS_MOUNT; echo $MESHFS_RUN; echo $MESHFS_MESH; cat "$MESHFS_MOUNT/sales/orders/latest/a.csv"; pwd')
    mount, run, mesh_file, *rest = done.stdout.splitlines()
    assert rest == ["id", "1", str(orders.folder)] and mesh_file == str(orders.file)
    assert not os.path.exists(mount), "the folder of a finished run stays behind"
    row = orders.json("lineage runs")[0]
    assert row["run"] == run and row["name"] == "see" and row["params"] == {"lr": "0.2"} and row["reads"] == 1
    assert row["command"].startswith("sh -c 'echo $MESHFS_MOUNT") and row["purpose"] == "training"


def test_the_mount_is_private(orders, tmp_path):
    at = tmp_path / "at"
    at.mkdir()
    p = start(orders, "--at", at, "--", "sh", "-c", f"cat {at}/sales/orders/1.0.0/a.csv; read line", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == "id\n"
    assert os.listdir(at) == [] and not is_mounted(at)
    p.communicate("\n")
    assert p.returncode == 0


def test_git_commit(orders, tmp_path):
    if not shutil.which("git"):
        pytest.skip("git is not installed")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q"], check=True)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True)
    commit = subprocess.run([*git, "rev-parse", "HEAD"], check=True, capture_output=True, text=True).stdout.strip()
    orders.run("run", "--", "true", cwd=tmp_path)
    assert orders.json("lineage runs")[0]["git_commit"] == commit


def test_output_is_hashed_and_recorded(orders, tmp_path):
    orders.run("run", "--name", "train", "--output", "model.bin", "--", "sh", "-c", "head -c 3000000 /dev/zero > model.bin", cwd=tmp_path)
    node = next(n for n in orders.json("lineage down", "train") if n["kind"] == "output")
    assert node["path"] == str(tmp_path / "model.bin")
    assert node["sha256"] == hashlib.sha256((tmp_path / "model.bin").read_bytes()).hexdigest()
    assert "did not make it" in orders.run("run", "--output", "none", "--", "true", status=125, cwd=tmp_path).stderr
    orders.run("run", "--output", "none", "--", "false", status=1, cwd=tmp_path)


def test_an_output_is_known_by_any_name_of_its_file(orders, tmp_path):
    folder, link = tmp_path / "real", tmp_path / "link"
    folder.mkdir()
    link.symlink_to(folder)
    orders.run("run", "--name", "train", "--output", "../link/./model.bin", "--", "sh", "-c", "echo weights > model.bin", cwd=folder)
    model = folder / "model.bin"
    nodes = orders.json("lineage up", model)
    assert nodes[0]["path"] == str(model) and nodes[1]["name"] == "train"
    shutil.copy(model, tmp_path / "copy")  # elsewhere, but the same bytes
    assert orders.json("lineage up", link / "model.bin") == orders.json("lineage up", "copy", cwd=tmp_path) == nodes
    model.write_text("other weights\n")
    shutil.copy(model, tmp_path / "copy")
    done = orders.run("lineage", "up", "copy", cwd=tmp_path, status=4)
    assert hashlib.sha256(model.read_bytes()).hexdigest() in done.stderr and "no run recorded" in done.stderr


def test_an_output_waits_for_a_locked_database(orders, tmp_path):
    runner = start(orders, "--name", "train", "--output", tmp_path / "model", "--", "sh", "-c",
                   f"cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv > {tmp_path}/model; touch {tmp_path}/read; while [ ! -e {tmp_path}/go ]; do sleep 0.1; done")
    wait_for(lambda: (tmp_path / "read").exists(), 30, what="that the command reads")
    [path] = [Path(str(p).removesuffix(".journals")) for p in orders.folder.rglob("*.journals")]
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("BEGIN IMMEDIATE")
    (tmp_path / "go").touch()
    time.sleep(11.5)  # longer than SQLite waits for a lock
    assert runner.poll() is None
    db.execute("ROLLBACK")
    assert runner.wait(timeout=60) == 0
    assert [n["kind"] for n in orders.json("lineage up", tmp_path / "model")] == ["output", "run", "version"]


def test_background_children_do_not_hold_the_run(orders, tmp_path):
    begin = time.monotonic()
    orders.run("run", "--name", "bg", "--", "sh", "-c",
               f"cd $MESHFS_MOUNT; (exec 3< sales/orders/1.0.0/a.csv; sleep 20) >/dev/null 2>&1 & echo $! > {tmp_path}/pid; sleep 0.3")
    assert time.monotonic() - begin < 15
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)
    run = orders.json("lineage runs")[0]
    assert run["ended"] and run["reads"] == 1 and run["exit"] == 0


def test_signals_are_passed_on(orders):
    for sig in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        p = start(orders, "--", "sh", "-c", f"trap 'echo got; exit 9' {sig.value}; echo ready; while :; do sleep 0.05; done", stdout=subprocess.PIPE)
        assert p.stdout.readline() == "ready\n"
        p.send_signal(sig)
        assert p.communicate(timeout=20)[0] == "got\n" and p.returncode == 9


def test_ctrl_c_on_a_terminal_reaches_the_command_once(orders):
    pid, fd = pty.fork()
    if pid == 0:
        os.chdir(orders.folder)
        os.execve(binary(), [*orders.command(), "run", "--name", "tty", "--", "sh", "-c",
                             "test -t 0 && trap 'n=$((n+1))' INT; echo ready; sleep 1; sleep 0.3; echo times $n; exit 3"], orders.environment())
    seen = b""

    def read_until(text):
        nonlocal seen
        end = time.monotonic() + 20
        while text not in seen and time.monotonic() < end:
            if select.select([fd], [], [], 0.1)[0]:
                try:
                    seen += os.read(fd, 1000)
                except OSError:
                    break

    read_until(b"ready")
    os.write(fd, b"\x03")
    read_until(b"times")
    _, status = os.waitpid(pid, 0)
    assert b"times 1" in seen and os.waitstatus_to_exitcode(status) == 3
    assert orders.json("lineage runs")[0]["exit"] == 3


def test_a_killed_waiter_still_ends_the_run(orders):
    (folder := orders.folder / "tmp").mkdir()
    orders.env["TMPDIR"] = str(folder)
    p = start(orders, "--name", "killed", "--", "sh", "-c", "cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv; exec sleep 5", stdout=subprocess.PIPE)
    assert p.stdout.readline() == "id\n"
    p.kill()
    p.wait()
    p.stdout.close()
    wait_for(lambda: orders.json("lineage runs")[0]["ended"], timeout=20, what="the end of the run")
    run = orders.json("lineage runs")[0]
    assert run["reads"] == 1 and run["exit"] == 137
    wait_for(lambda: not any(folder.iterdir()), timeout=5, what="the end of the folder it was mounted at")
    orders.env["TMPDIR"] = "/nonexistent"
    assert "TMPDIR or --at" in orders.run("run", "--", "true", status=125).stderr


def test_a_run_in_a_container_that_is_gone_has_ended(orders):
    """Its processes had numbers of their own, which mean nothing outside; nobody is left who has them."""
    if os.geteuid() != 0 or os.readlink("/proc/self/ns/pid") != "pid:[4026531836]":
        pytest.skip("only root of the first pid namespace sees all processes")
    read = orders.folder / "read"
    p = subprocess.Popen(["unshare", "--pid", "--fork", "--kill-child", "--mount-proc", *orders.command(), "run", "--name", "boxed", "--", "sh", "-c",
                          f"cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv; touch {read}; sleep 100"], env=orders.environment(), cwd=orders.folder, stdout=subprocess.DEVNULL)
    wait_for(read.exists, timeout=30, what="that it reads")
    assert orders.json("lineage runs")[0]["ended"] is None
    [box] = Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()
    os.kill(int(box), signal.SIGKILL)  # the first process of a namespace: all others die with it
    p.wait()
    wait_for(lambda: orders.json("lineage runs")[0]["ended"], timeout=20, what="that the run has ended")
    run = orders.json("lineage runs")[0]
    assert run["reads"] == 1 and run["exit"] is None
    orders.run("lineage", "verify")


def test_a_killed_server_leaves_no_folder(orders):
    (folder := orders.folder / "tmp").mkdir()
    orders.env["TMPDIR"] = str(folder)
    p = start(orders, "--name", "killed", "--output", "made", "--", "sh", "-c", "cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv; read line; echo 1 > made",
              stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert p.stdout.readline() == "id\n"
    children = Path(f"/proc/{p.pid}/task/{p.pid}/children").read_text().split()
    [server] = [c for c in children if os.path.realpath(f"/proc/{c}/exe") == os.path.realpath(binary())]
    os.kill(int(server), signal.SIGKILL)
    _, errors = p.communicate("\n", timeout=30)
    assert p.returncode == 125 and "server of the mount ended early" in errors
    assert not any(folder.iterdir())
    run = orders.json("lineage runs")[0]
    assert run["ended"] and run["reads"] == 1 and run["exit"] is None
    orders.run("lineage", "verify")


def test_no_secret_is_recorded(orders):
    """Neither of the command that is run nor of a process that reads, while it runs (in the journals) and afterwards."""
    secrets = [b"hush-hush-1", b"hush hush 2", b"hush-hush-3", b"hush-hush-4"]
    script = "import os, sys; open(os.environ['MESHFS_MOUNT'] + '/sales/orders/1.0.0/a.csv').read(); print('read', flush=True); sys.stdin.readline()"
    p = start(orders, "--name", "secret", "--param", "api_key=hush-hush-1", "--param", "max_tokens=5", "--", "python3", "-c", script,
              "--password", "hush hush 2", "--db-password=hush-hush-3", "https://ana:hush-hush-4@host/", "--epochs", "3",
              stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert p.stdout.readline() == "read\n"
    orders.run("lineage", "runs")  # drains the journal, which stays while the mount lives
    [journals] = orders.folder.rglob("*.journals")
    files = [f for f in journals.parent.rglob("*") if f.is_file()]
    kept = b"".join(f.read_bytes() for f in files)
    assert len(files) >= 3 and b"--epochs" in kept and not [s for s in secrets if s in kept]
    p.communicate("\n", timeout=30)
    run = orders.json("lineage runs", "--run", "secret")[0]
    assert run["command"].endswith("--password *** --db-password=*** https://ana:***@host/ --epochs 3")
    with sqlite3.connect(next(f for f in files if f.suffix == ".db")) as db:
        assert db.execute("SELECT params FROM runs").fetchone() == ('{"api_key":"***","max_tokens":"5"}',)
        assert "--password *** --db-password=***" in db.execute("SELECT command FROM mesh_reads").fetchone()[0]


def test_nested_runs(orders):
    inner = f"{binary()} run --name inner -- sh -c 'cat $MESHFS_MOUNT/sales/orders/1.0.0/b.csv'"
    orders.run("run", "--name", "outer", "--", "sh", "-ec", f"cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv; {inner}")
    runs = {r["name"]: r for r in orders.json("lineage runs")}
    assert runs["inner"]["parent"] == runs["outer"]["run"] and runs["outer"]["parent"] is None
    assert {r["file"]: r["run"] for r in orders.json("lineage reads")} == {"a.csv": "outer", "b.csv": "inner"}
    up = orders.json("lineage up", "outer")
    assert [n["kind"] for n in up].count("run") == 2


def test_what_is_published_inside_belongs_to_the_run(orders, tmp_path):
    orders.run("run", "--name", "etl", "--", "sh", "-ec",
               f"mkdir o; cat $MESHFS_MOUNT/sales/orders/1.0.0/*.csv > o/all.csv; {binary()} publish sales/all/1.0.0 o", cwd=tmp_path)
    up = orders.json("lineage up", "sales/all/1.0.0")
    assert [n.get("address") or n["name"] for n in up] == ["sales/all/1.0.0", "etl", "sales/orders/1.0.0"]


def test_for_another_user(orders, unprivileged, tmp_path):
    """Root runs it for someone: the command is that user, and so is the run."""
    user = pwd.getpwuid(unprivileged[0]).pw_name
    done = orders.run("run", "--user", user, "--name", "theirs", "--", "sh", "-c", "id -un; cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv", cwd="/")
    assert done.stdout == f"{user}\nid\n1\n"
    assert orders.json("lineage runs")[0]["user"] == user and orders.json("lineage reads")[0]["user"] == user


def test_another_user_gets_no_credentials(orders, unprivileged, tmp_path):
    """What root's environment and open files hold is root's: only what the command needs goes on."""
    user = pwd.getpwuid(unprivileged[0]).pw_name
    secret = tmp_path / "secret"
    secret.write_text("token")
    secret.chmod(0o600)
    with open(secret, "rb") as held:
        done = subprocess.run([*orders.command(), "run", "--user", user, "--", "sh", "-c", "env; cat /proc/self/fd/%d; ls /proc/self/fd" % held.fileno()],
                              env=orders.environment({"AWS_ACCESS_KEY_ID": "token-id", "AWS_SECRET_ACCESS_KEY": "token", "AWS_PROFILE": "token",
                                                      "OPENLINEAGE_API_KEY": "token", "KEPT": "yes"}),
                              pass_fds=[held.fileno()], cwd="/", capture_output=True, text=True, timeout=60)
    assert "KEPT=yes" in done.stdout and "MESHFS_RUN=" in done.stdout
    assert not re.search(r"token|AWS_|XDG_", done.stdout)


def test_an_output_is_read_as_the_user(orders, unprivileged, tmp_path):
    user = pwd.getpwuid(unprivileged[0]).pw_name
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    closed = folder / "closed"  # to all but root and its group
    closed.write_text("x")
    closed.chmod(0o640)
    done = orders.run("run", "--user", user, "--output", closed, "--", "true", status=125, cwd="/")
    assert "not on record" in done.stderr
    shutil.rmtree(folder)


def test_without_privilege(tmp_path, unprivileged):
    """In a user namespace of the caller's own; where the machine forbids that, the message says what to do."""
    from meshkit import Mesh
    uid, gid = unprivileged
    folder = tmp_path / "theirs"
    mesh = Mesh(folder)
    try:
        mesh.domain("sales")
        mesh.publish("sales/orders/1.0.0", {"a.csv": "id\n1\n"})
        subprocess.run(["chown", "-R", f"{uid}:{gid}", folder, mesh.runtime.name], check=True)
        program = tmp_path / "meshfs"  # the tree may lie where only we can go
        shutil.copy(mesh.command()[0], program)
        for parent in folder.parents:
            if parent != parent.parent and str(parent).startswith("/tmp/"):
                os.chmod(parent, os.stat(parent).st_mode | 0o011)
        done = subprocess.run([program, *mesh.command()[1:], "run", "--name", "plain", "--", "sh", "-c", "id -u; cat $MESHFS_MOUNT/sales/orders/1.0.0/a.csv"],
                              env=mesh.environment(), cwd=folder, user=uid, group=gid, extra_groups=[], capture_output=True, text=True, timeout=60)
        if done.returncode == 125 and "--at" in done.stderr:
            pytest.skip("user namespaces are not allowed here: " + done.stderr)
        assert done.stdout == f"{uid}\nid\n1\n" and done.returncode == 0, done.stderr
    finally:
        mesh.close()
