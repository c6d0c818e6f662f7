"""A reader of another uid in a session that root made, who tries to learn what he is not shown: that it is there, how much it is, or to have the
session's process, which is root's, do for him what he may not.  Values are the business of test_policy_mount.py's canaries."""
import ctypes
import errno
import json
import os
import pwd
import random
import shutil
import signal
import statistics
import struct
import subprocess
import time
from pathlib import Path

import pytest

from canary import as_user
from meshkit import binary, wait_for
from test_policy_mount import NOBODY, close_to_others, open_mesh, rules  # noqa: F401: a fixture

LIBC = ctypes.CDLL(None, use_errno=True)
FILES = {"a.csv": "id\n1\n", "z.csv": "id\n1\n", "hidefile.csv": "id\n8\n", "no/y.csv": "id\n4\n"} | {f"hid/{i}.csv": f"id\n{i}\n" for i in range(50)}
HIDES = ("policy extra scope mesh version 1\n\nhide h\n  files d/open/*/hid/**, d/open/*/hidefile.csv, d/open/2.0.0/**, d/secretprod/**\n\n"
         "deny n\n  files d/denied/**, d/open/*/no/**\n")
WRITERS = "policy d scope domain d version 1\n\npermit all\n  files **\n\npermit w to publish\n  files **\n"


@pytest.fixture
def hiding(open_mesh):  # noqa: F811
    mesh = open_mesh
    mesh.publish("d/open/1.0.0", FILES)
    mesh.publish("d/open/2.0.0", {"a.csv": "id\n1\n2\n"})
    mesh.publish("d/secretprod/1.0.0", {"a.csv": "id\n1\n2\n"})
    mesh.publish("d/denied/1.0.0", {"a.csv": "id\n1\n2\n"})
    rules(mesh, HIDES)
    close_to_others(mesh)
    return mesh


def checked(result):
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def file_handle(path):
    """What name_to_handle_at(2) gives anybody who can reach the file: the kernel's number of the node."""
    buffer = ctypes.create_string_buffer(struct.pack("II", 128, 0) + bytes(128))
    checked(LIBC.name_to_handle_at(-100, os.fsencode(path), buffer, ctypes.byref(ctypes.c_int()), 0))
    high, low = struct.unpack_from("II", buffer.raw, 8)
    return high << 32 | low


# -- names ------------------------------------------------------------------------------------------

def attempts(path, other):
    """Everything that takes a name."""
    path, b = str(path), os.fsencode(path)
    yield from {
        "stat": lambda: os.stat(path),
        "as a folder": lambda: os.stat(path + "/"),
        "what is in it": lambda: os.stat(path + "/a.csv"),
        "its policy": lambda: os.stat(path + "/.mesh/policy.txt"),
        "open": lambda: os.open(path, os.O_RDONLY),
        "open for writing": lambda: os.open(path, os.O_WRONLY),
        "create": lambda: os.open(path, os.O_WRONLY | os.O_CREAT, 0o644),
        "create if absent": lambda: os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644),
        "a nameless file": lambda: os.open(path, os.O_RDWR | os.O_TMPFILE, 0o644),
        "as a place": lambda: os.open(path, os.O_PATH),
        "list": lambda: os.listdir(path),
        "read as a link": lambda: os.readlink(path),
        "make a file": lambda: os.mknod(path),
        "make a link": lambda: os.symlink("x", path),
        "remove": lambda: os.unlink(path),
        "remove a folder": lambda: os.rmdir(path),
        "change its mode": lambda: os.chmod(path, 0o600),
        "cut it": lambda: os.truncate(path, 0),
        "touch": lambda: os.utime(path),
        "read an attribute": lambda: os.getxattr(path, "user.mesh.address"),
        "set an attribute": lambda: os.setxattr(path, "user.x", b"1"),
        "move it away": lambda: os.rename(path, path + "b"),
        "move onto it": lambda: os.rename(other, path),
        "link onto it": lambda: os.link(other, path),
        "exchange with it": lambda: checked(LIBC.renameat2(-100, os.fsencode(other), -100, b, 2)),
        "move there if absent": lambda: checked(LIBC.renameat2(-100, os.fsencode(other), -100, b, 1)),
        "its handle": lambda: file_handle(path),
        "watch it": lambda: checked(min(LIBC.inotify_add_watch(LIBC.inotify_init1(0), b, 0xfff), 0)),
        "make a folder": lambda: os.mkdir(path),
        "and remove it": lambda: os.rmdir(path),
    }.items()


def outcome(call):
    try:
        call()
        return "ok"
    except OSError as error:
        return errno.errorcode[error.errno]


PAIRS = [("d/secretprod", "d/secretqrod"), ("d/secretprod/1.0.0", "d/secretqrod/1.0.0"), ("d/secretprod/README.md", "d/secretqrod/README.md"),
         ("d/secretprod/1.0.0/a.csv", "d/secretqrod/1.0.0/a.csv"), ("d/open/2.0.0", "d/open/3.0.0"), ("d/open/2", "d/open/3"), ("d/open/2.0", "d/open/3.0"),
         ("d/open/1.0.0/hid", "d/open/1.0.0/hif"), ("d/open/1.0.0/hid/3.csv", "d/open/1.0.0/hif/3.csv"),
         ("d/open/1.0.0/hidefile.csv", "d/open/1.0.0/hidefilf.csv"), (".mesh/search/secretprod/secretprod@d", ".mesh/search/secretqrod/secretqrod@d"),
         ("d/secretprod/1.0.0.draft", "d/secretqrod/1.0.0.draft")]


@pytest.mark.parametrize("may_publish", [False, True])
def test_a_hidden_name_answers_as_one_that_never_was(hiding, may_publish):
    if may_publish:
        rules(hiding, WRITERS, "d")
    with hiding.mount("--user", str(NOBODY), purpose="x") as m:
        def work():
            other = str(m.path / "d/open/1.0.0/a.csv")
            told = []
            for hidden, absent in PAIRS:
                for (what, one), (_, two) in zip(attempts(m.path / hidden, other), attempts(m.path / absent, other)):
                    a, b = outcome(one), outcome(two)
                    if a != b:
                        told.append((hidden, what, a, b))
            return told
        assert as_user(NOBODY, NOBODY, work) == []


def test_a_clock_does_not_tell_a_hidden_name_from_one_that_never_was(hiding):
    """A decision takes longer than a probe that finds nothing.  So both are answered at the same moments, 5 ms after they were asked for or a multiple."""
    held, chance = 0.0049, random.Random(1)

    def took(call):
        start = time.monotonic()
        assert outcome(call) in ("ENOENT", "ok")
        return time.monotonic() - start

    with hiding.mount("--user", str(NOBODY), purpose="x") as m:
        def work():
            d, times = m.path / "d", {}
            pairs = {"product": (d / "secretprod", d / "secretqrod"), "version": (d / "open/2.0.0", d / "open/3.0.0"),
                     "link": (m.path / ".mesh/search/open/secretprod@d", m.path / ".mesh/search/open/secretqrod@d")}
            for i in range(40):
                for what, pair in pairs.items():
                    for path in chance.sample(pair, 2):
                        times.setdefault((what, path == pair[0]), []).append(took(lambda path=path: os.stat(path)))
            for i in range(20):  # the kernel keeps what was told of names in a version
                times.setdefault(("file", False), []).append(took(lambda i=i: os.stat(d / f"open/1.0.0/not{i}.csv")))
            times["file", True] = [took(lambda name=name: os.stat(d / "open/1.0.0" / name)) for name in ("hidefile.csv", "hid")]
            for word in ("secretprod", "secretqrod"):
                times["search", word == "secretprod"] = [took(lambda word=word: os.listdir(m.path / ".mesh/search" / word)) for i in range(5)]
            shown = [took(lambda: os.stat(d / "denied/README.md")) for i in range(5)] + [took(lambda: os.stat(d / ".git")) for i in range(5)]
            return times, min(shown)
        times, shown = as_user(NOBODY, NOBODY, work)
    for what, seconds in times.items():
        assert min(seconds) > held, (what, min(seconds))
    for what in ("product", "version", "link"):
        hidden, absent = statistics.median(times[what, True]), statistics.median(times[what, False])
        assert abs(hidden - absent) < held, (what, hidden, absent)
    assert shown < held  # what is there, and what no product is called, does not wait


def test_signals_do_not_cut_short_what_is_held_back(hiding):
    with hiding.mount("--user", str(NOBODY), purpose="x") as m:
        def work():
            told = set()
            signal.signal(signal.SIGALRM, lambda *_: None)
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            for i in range(100):
                assert LIBC.access(os.fsencode(m.path / f"d/none{i}"), 0) == -1
                told.add(ctypes.get_errno())
            signal.setitimer(signal.ITIMER_REAL, 0)
            return told
        assert as_user(NOBODY, NOBODY, work) == {errno.ENOENT}


def test_handles_of_files_do_not_count_what_is_hidden(hiding):
    with hiding.mount("--user", str(NOBODY)) as m:
        def work():
            v = m.path / "d/open/1.0.0"
            found = [file_handle(v / name) for name in ("a.csv", "z.csv", "no/y.csv")] + [file_handle(p) for p in (v, v.parent, v.parent.parent)]
            watch = LIBC.inotify_init1(0)
            assert LIBC.inotify_add_watch(watch, os.fsencode(v / "a.csv"), 0xfff) > 0
            told = Path(f"/proc/self/fdinfo/{watch}").read_text()  # the handle, once more
            return found, told, (v / "a.csv").read_text(), sorted(os.listdir(v))
        numbers, watched, text, names = as_user(NOBODY, NOBODY, work)
    numbers.sort()
    assert min(b - a for a, b in zip([0, *numbers], numbers)) > 1 << 32, [hex(n) for n in numbers]
    assert "f_handle" in watched
    assert text == "id\n1\n" and names == ["a.csv", "no", "z.csv"]  # and they lead back to the files


# -- what root's process does for him ---------------------------------------------------------------

def opens_of(path):
    """An inotify descriptor that hears of every open of a file."""
    fd = LIBC.inotify_init1(os.O_NONBLOCK)
    assert LIBC.inotify_add_watch(fd, os.fsencode(path), 0x20 | 0x1) > 0  # IN_OPEN, IN_ACCESS
    return fd


def test_a_draft_does_not_read_for_its_writer(open_mesh):  # noqa: F811
    mesh = open_mesh
    rules(mesh, WRITERS, "d")
    secret = mesh.folder / "secret"
    secret.mkdir(mode=0o700)
    contract = "apiVersion: v3.1.0\nkind: DataContract\nid: s\nname: zqxsecret\nversion: 1.0.0\nstatus: active\nschema: []\n"
    (secret / "x").write_text(contract)
    heard = opens_of(secret / "x")
    with mesh.mount("--user", str(NOBODY), purpose="x") as m:
        def work():
            draft = m.path / "d/mine/1.0.0.draft"
            draft.mkdir(parents=True)
            (draft / "f").mkdir()
            (draft / "f/x").write_text("id\n1\n")
            os.rename(draft / "f", draft / "g")  # what was closed a moment ago is fed at once: the path leads elsewhere now
            os.symlink(str(secret), draft / "f")
            time.sleep(1)
            told = [outcome(lambda: (draft / "f/x").read_bytes())]
            os.unlink(draft / "f")
            os.symlink("g", draft / "f")
            # A contract that is a symlink, by every way to make one.
            os.symlink(str(secret / "x"), draft / "link")
            place = draft / ".mesh/contract.yaml"
            told += [outcome(lambda: os.symlink(str(secret / "x"), place)), outcome(lambda: os.rename(draft / "link", place)),
                     outcome(lambda: os.link(draft / "link", place))]
            place.write_text(contract.replace("zqxsecret", "mine"))
            told.append(outcome(lambda: checked(LIBC.renameat2(-100, os.fsencode(draft / "link"), -100, os.fsencode(place), 2))))
            told.append(outcome(lambda: os.symlink(str(secret / "x"), draft / ".mesh/problems.txt")))
            os.unlink(draft / "link")
            os.rename(draft, m.path / "d/mine/1.0.0")
            v = m.path / "d/mine/1.0.0"
            return told, (v / "g/x").read_text(), os.readlink(v / "f"), (v / ".mesh/contract.yaml").read_text()
        told, text, link, published = as_user(NOBODY, NOBODY, work)
    assert told == ["EACCES", "EPERM", "EPERM", "EPERM", "EPERM", "EPERM"]
    assert text == "id\n1\n" and link == "g" and "zqxsecret" not in published and "mine" in published
    with pytest.raises(BlockingIOError):
        os.read(heard, 4096)  # root never opened it
    os.close(heard)


PRISONER = r"""
import ctypes, errno, glob, json, os, signal, subprocess, sys
libc = ctypes.CDLL(None, use_errno=True)
mount, folder = os.environ["MESHFS_MOUNT"], sys.argv[1]
server = json.load(open(mount + "/.mesh/status.json"))["pid"]

def tried(call):
    try:
        r = call()
    except OSError as error:
        return errno.errorcode[error.errno]
    return "ok" if not (isinstance(r, int) and r < 0) else errno.errorcode[ctypes.get_errno()]

def reach(path):
    return tried(lambda: os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(1))

files = [os.path.join(top, name) for top, _, names in os.walk(folder, onerror=lambda e: None) for name in names]
print(json.dumps({
    "descriptors": [os.readlink("/proc/self/fd/" + n) for n in os.listdir("/proc/self/fd") if os.path.exists("/proc/self/fd/" + n)],
    "capabilities": [line.split()[1] for line in open("/proc/self/status") if line.startswith(("CapEff", "CapPrm"))],
    "ids": [os.getresuid(), os.getresgid(), os.getgroups()],
    "server": {n: reach("/proc/%d/%s" % (server, n)) for n in ("fd", "mem", "maps", "environ", "root", "cwd", "stack", "io", "fdinfo", "map_files", "ns")},
    "signal": [tried(lambda: os.kill(server, s)) for s in (signal.SIGTERM, signal.SIGKILL, signal.SIGUSR1)],
    "trace": tried(lambda: libc.ptrace(16, server, 0, 0)),
    "take": tried(lambda: libc.syscall(438, libc.syscall(434, server, 0), 0, 0)),
    "unmount": tried(lambda: libc.umount2(mount.encode(), 2)),
    "fusermount": subprocess.run(["fusermount3", "-u", "-z", mount], capture_output=True).returncode,
    "remount": tried(lambda: libc.mount(b"none", mount.encode(), None, 0x20 | 0x1000, None)),
    "namespace": tried(lambda: libc.setns(os.open("/proc/1/ns/mnt", os.O_RDONLY), 0)),
    "connections": [tried(lambda: open(p, "wb").write(b"1")) for p in glob.glob("/sys/fs/fuse/connections/*/abort")],
    "shared": [p for p in glob.glob("/dev/shm/*mesh*") if not p.startswith("/dev/shm/meshfs-test-")],  # of tests that run beside this one
    "sockets": [line for line in open("/proc/net/unix") if folder in line or "@meshfs" in line],
    "reached": [p for p in files if reach(p) == "ok" and not p.startswith(mount)],
    "write": tried(lambda: open(mount + "/d/open/1.0.0/a.csv", "wb")),
    "read": open(mount + "/d/open/1.0.0/a.csv").read(),
    "listed": sorted(os.listdir(mount + "/d")),
}))
"""


def test_who_runs_inside_reaches_nothing_of_the_outside(hiding):
    mesh = hiding
    mesh.run("policy", "key", "new", "k1")
    (mesh.folder / "policy").chmod(0o700)
    user = pwd.getpwuid(NOBODY).pw_name
    with open(mesh.folder / "policy" / "extra.policy") as held:
        os.set_inheritable(held.fileno(), True)
        done = subprocess.run([*mesh.command(), "run", "--user", user, "--purpose", "x", "--", "/usr/bin/python3", "-c", PRISONER, str(mesh.folder)],
                              env=mesh.environment(), cwd="/", capture_output=True, text=True, timeout=120, close_fds=False)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert not [d for d in found["descriptors"] if not d.startswith(("/dev/", "pipe:", "/proc/"))], found["descriptors"]
    assert found["capabilities"] == ["0000000000000000"] * 2
    assert found["ids"][0] == [NOBODY] * 3 and found["ids"][1] == [pwd.getpwuid(NOBODY).pw_gid] * 3 and 0 not in found["ids"][2]
    assert set(found["server"].values()) <= {"EACCES", "EPERM", "ENOENT"}, found["server"]
    assert found["signal"] == ["EPERM"] * 3 and found["trace"] in ("EPERM", "EACCES") and found["take"] in ("EPERM", "EBADF")
    assert found["unmount"] == "EPERM" and found["fusermount"] != 0 and found["remount"] == "EPERM" and found["namespace"] in ("EPERM", "EACCES")
    assert "ok" not in found["connections"] and found["shared"] == [] and found["sockets"] == []
    # The mesh file says where things are; keys, stores, cache, journal, rules and what was published from are closed.
    assert {Path(p).name for p in found["reached"]} <= {"mesh.yaml", "program"}, found["reached"]
    assert found["write"] in ("EROFS", "EACCES") and found["read"] == "id\n1\n" and found["listed"] == ["README.md", "denied", "open"]


# -- commands ---------------------------------------------------------------------------------------

def open_stores(mesh):
    for folder, _, files in os.walk(mesh.folder / "stores"):
        os.chmod(folder, 0o755)
        for name in files:
            os.chmod(os.path.join(folder, name), 0o644)


def open_to_all(mesh):
    """Opens the stores to every user, and gives one a program and a home; returns the command and its environment."""
    open_stores(mesh)
    program, home = shutil.copy(binary(), mesh.folder / "program"), mesh.folder / "other"
    home.mkdir()
    shutil.chown(home, NOBODY, NOBODY)
    return [program, "-m", str(mesh.file)], {**mesh.environment(), "HOME": str(home), "XDG_STATE_HOME": f"{home}/state", "XDG_CACHE_HOME": f"{home}/cache",
                                             "XDG_RUNTIME_DIR": f"{home}/run"}


def test_a_watch_is_not_told_of_what_is_hidden_by_now(hiding):
    """Rules that change while it runs bind it too."""
    mesh = hiding
    mesh.file.write_text("".join(line for line in mesh.file.read_text().splitlines(True) if not line.startswith("refresh:")) + "refresh: 200ms\n")
    rules(mesh, "policy m scope mesh version 1\n")
    command, environment = open_to_all(mesh)
    umask = os.umask(0o022)
    watcher = subprocess.Popen([*command, "watch"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment, cwd="/",
                               user=NOBODY, group=NOBODY, extra_groups=[])
    try:
        time.sleep(1.5)
        mesh.publish("d/open/5.0.0", {"a.csv": "id\n5\n"})
        open_stores(mesh)
        assert watcher.stdout.readline().split()[-2:] == ["published", "d/open/5.0.0"]
        rules(mesh, "policy m scope mesh version 2\n\nhide later\n  files d/open/6.0.0/**, d/late/**\n  unless user == root\n")
        time.sleep(1)
        mesh.publish("d/open/6.0.0", {"a.csv": "id\n6\n"})
        mesh.publish("d/late/1.0.0", {"a.csv": "id\n6\n"})
        mesh.publish("d/open/7.0.0", {"a.csv": "id\n7\n"})
        open_stores(mesh)
        assert watcher.stdout.readline().split()[-2:] == ["published", "d/open/7.0.0"]
    finally:
        os.umask(umask)
        watcher.kill()
        watcher.communicate()


def test_commands_neither_name_nor_count_what_is_hidden(hiding):
    """Where the store itself is open to the caller, as one behind a web server is, the commands still keep to the rules."""
    mesh = hiding
    rules(mesh, HIDES.replace("deny n", "hide n2\n  files d/open/1.0.0/no/**\n  unless user == root\n\ndeny n"))
    (program, *_), environment = open_to_all(mesh)
    home = mesh.folder / "other"
    (home / "loose").mkdir()
    (home / "strict").mkdir()
    for name, verb in (("loose", "permit"), ("strict", "deny")):
        (home / name / "x.policy").write_text(f"policy x scope {'domain d' if verb == 'permit' else 'mesh'} version 1\n\n{verb} x\n  files d/**\n")

    def run(*words, **more):
        done = as_user(NOBODY, NOBODY, lambda: subprocess.run([program, "-m", str(mesh.file), *words], capture_output=True, text=True, timeout=60,
                                                              env={**environment, **more}, cwd=str(home), stdin=subprocess.DEVNULL))
        return done.returncode, done.stdout + done.stderr

    for words in (["ls", "-R"], ["ls", "-R", "d"], ["ls", "-R", "d/open/1.0.0"], ["show", "d"], ["show", "d/open"], ["show", "--json", "d/open/1.0.0"],
                  ["search", "csv"], ["search", "a"], ["domain", "ls"], ["domain", "ls", "--json"], ["status"], ["status", "--json"], ["verify"],
                  ["verify", "d"], ["verify", "d", "--json"], ["policy", "check"], ["policy", "test"], ["policy", "diff", "loose", "strict"],
                  ["policy", "diff", "strict", "loose", "--json"], ["policy", "explain", "d/open", "--as", "user=root"], ["warm", "d"],
                  ["warm", "d", "--user", "root"], ["lineage", "runs"], ["lineage", "reads"], ["lineage", "denials"], ["cache", "status"], ["doctor"]):
        code, text = run(*words)
        for told in ("secretprod", "2.0.0", "hidefile", "generation"):
            assert told not in text, (words, text)
    assert "2 products" in run("domain", "ls")[1]
    assert json.loads(run("domain", "ls", "--json")[1])["products"] == 2
    # Of what is served in part nothing is verified, so that nothing is counted.
    assert run("verify") == (0, "")
    assert run("verify", "d/open/1.0.0")[0] == 3 and "not served to you as a whole" in run("verify", "d/open/1.0.0")[1]
    assert run("warm", "d/open/1.0.0") == (0, "2 files ready, 10 B\n")  # and not how many are not
    for words in (["ls"], ["show"], ["verify"], ["policy", "explain"], ["warm"], ["search", "--json"]):
        for name in ("secretprod", "secretqrod"):
            code, text = run(*words, f"d/{name}" if words[0] != "search" else name)
            assert (code, text.replace(name, "X")) == (run(*words, "d/secretqrod" if words[0] != "search" else "secretqrod")[0],
                                                       run(*words, "d/secretqrod" if words[0] != "search" else "secretqrod")[1].replace("secretqrod", "X"))
    # Who claims to be somebody else in his environment or on the command line is not.
    for more in ({"USER": "root", "LOGNAME": "root"}, {"SUDO_UID": "0", "SUDO_USER": "root"}):
        assert run("show", "d/secretprod", **more)[0] == 4
    assert run("mount", "--user", "root", str(home / "loose"))[0] == 1
    assert run("run", "--user", "root", "--", "true")[0] == 125
