"""The program under test: meshes in temporary folders, commands, mounts.

    def test_x(mesh):
        mesh.domain("sales")                                  # a file:// store of its own
        mesh.publish("sales/orders/1.0.0", {"a.csv": "x\n1\n"})
        with mesh.mount(purpose="training") as m:
            assert (m.path / "sales/orders/1.0.0/a.csv").read_text() == "x\n1\n"
        assert mesh.json("lineage", "reads")[0]["outcome"] == "served"
"""
import json
import os
import re
import signal
import subprocess
import tempfile
from pathlib import Path

import pytest

from servers import TOOL_PATH, wait_for

TOP = Path(__file__).resolve().parents[2]
NOISE = re.compile(r"AddressSanitizer|ThreadSanitizer|LeakSanitizer|runtime error:|assertion|Assertion|corrupted|double free")

# What a contract begins with whose only point is its schema, which follows.
CONTRACT_HEAD = """apiVersion: v3.1.0
kind: DataContract
id: t
name: t
version: 1.0.0
status: active
schema:
"""


def binary():
    path = Path(os.environ.get("MESHFS_BIN", TOP / "build" / "meshfs")).absolute()
    if not path.exists():
        pytest.fail(f"{path} is not built: run make")
    return str(path)


def need_fuse():
    """Skips the test on a machine that cannot mount."""
    try:
        os.close(os.open("/dev/fuse", os.O_RDWR))
    except OSError as error:
        pytest.skip(f"this machine cannot mount: /dev/fuse: {error.strerror}")


def is_mounted(path):
    path = os.path.realpath(path) if not _mount_table_has(str(path)) else str(path)
    return _mount_table_has(path)


def _mount_table_has(path):
    """From the mount table, without asking the file system, which may hang."""
    with open("/proc/self/mountinfo") as table:
        return any(line.split()[4].encode().decode("unicode_escape") == path for line in table)


def unmount(path):
    """Unmounts by mount point, whatever state the mount is in."""
    for command in (["fusermount3", "-u", "-q"], ["umount"], ["umount", "-l"], ["fusermount3", "-u", "-z", "-q"]):
        if not is_mounted(path):
            return
        subprocess.run([*command, str(path)], capture_output=True, timeout=30)


def write_tree(folder, files):
    """{"a/b.csv": "text" or bytes} as files."""
    for name, content in files.items():
        path = Path(folder) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
    return Path(folder)


class Mount:
    """`meshfs mount --foreground`, ready when entered; unmounted, waited for and checked when left."""

    def __init__(self, mesh, path, args, env=None, expect_status=0, check_noise=True):
        self.mesh, self.path, self.args, self.env = mesh, Path(path), args, env
        self.expect_status, self.check_noise, self.process = expect_status, check_noise, None
        self.log_path = mesh.folder / f"mount-{self.path.name}.log"

    def log(self):
        return self.log_path.read_text(errors="replace") if self.log_path.exists() else ""

    def _ready(self):
        if self.process.poll() is not None:
            raise AssertionError(f"the mount ended with {self.process.returncode}:\n{self.log()}")
        return is_mounted(self.path)

    def start(self, timeout=30):
        need_fuse()
        self.path.mkdir(parents=True, exist_ok=True)
        with open(self.log_path, "ab") as log:
            self.process = subprocess.Popen([*self.mesh.command(), "mount", str(self.path), "--foreground", *self.args],
                                            stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=self.mesh.environment(self.env),
                                            cwd=self.mesh.folder, start_new_session=True)
        try:
            wait_for(self._ready, timeout=timeout, what=f"the mount at {self.path}")
            os.stat(self.path)
        except BaseException:
            self.stop(check=False)
            raise
        return self

    def kill(self):
        """As a crash would: nothing is flushed, the mount point stays behind."""
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.expect_status = -signal.SIGKILL

    def stop(self, check=True, timeout=30):
        if not self.process:
            return
        process, self.process = self.process, None
        unmount(self.path)
        try:
            status = process.wait(timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            status = "a hang"
        unmount(self.path)
        if check:
            assert status == self.expect_status, f"the mount ended with {status}:\n{self.log()}"
            assert not (self.check_noise and NOISE.search(self.log())), self.log()

    def __enter__(self):
        return self.start()

    def __exit__(self, kind, *_):
        if kind:
            print(f"the log of {self.path}:\n{self.log()[-8000:]}")
        self.stop(check=kind is None)


class Mesh:
    """A mesh of its own: mesh.yaml, stores, cache, lineage and home beneath `folder`."""

    def __init__(self, folder, init=True):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.file = self.folder / "mesh.yaml"
        self.env = {}
        self.mounts = []
        self.runtime = tempfile.TemporaryDirectory(prefix="meshfs-run-")  # short: sockets may be in it
        if init:
            self.run("init", str(self.folder), "--name", "acme", mesh=False)

    def environment(self, more=None):
        keep = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MESHFS_", "XDG_"))}
        keep.update({k: os.environ[k] for k in ("MESHFS_DUCKDB", "MESHFS_CA_FILE") if k in os.environ})
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {**keep, "HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "XDG_CACHE_HOME": str(home / "cache"),
                "XDG_CONFIG_HOME": str(home / "config"), "XDG_RUNTIME_DIR": self.runtime.name, "PATH": TOOL_PATH,
                "TZ": "UTC", "LC_ALL": "C.UTF-8", **self.env, **(more or {})}

    def command(self):
        return [binary(), "-m", str(self.file)]

    def run(self, *args, check=True, status=None, input=None, env=None, cwd=None, timeout=120, mesh=True, text=True):
        """Runs a command.  `status` is the exit status that it must have (0 with check=True)."""
        command = [*(self.command() if mesh else [binary()]), *map(str, args)]
        done = subprocess.run(command, input=input, capture_output=True, text=text, env=self.environment(env),
                              cwd=cwd or self.folder, timeout=timeout, stdin=subprocess.DEVNULL if input is None else None)
        wanted = status if status is not None else 0 if check else None
        assert wanted is None or done.returncode == wanted, (
            f"{' '.join(command)}\nended with {done.returncode}, not {wanted}\nstdout: {done.stdout}\nstderr: {done.stderr}")
        noise = done.stderr if text else done.stderr.decode(errors="replace")
        assert not NOISE.search(noise), noise
        return done

    def json(self, command, *args, **options):
        """The objects that `COMMAND --json …` prints.  `command` may be several words: "lineage reads"."""
        out = self.run(*command.split(), "--json", *args, **options).stdout
        return [json.loads(line) for line in out.splitlines()]

    def domain(self, name, store=None, endpoint=None, region=None):
        """Adds a domain; without `store`, one with a file:// store in our folder.  Returns the store's URL."""
        store = store or (self.folder / "stores" / name).as_uri()
        more = (["--endpoint", endpoint] if endpoint else []) + (["--region", region] if region else [])
        self.run("domain", "add", name, store, *more)
        return store

    def publish(self, address, source, *args, **options):
        """Publishes {"name": content} or a path."""
        if isinstance(source, dict):
            folder = Path(tempfile.mkdtemp(dir=self.folder, prefix="source-"))
            source = write_tree(folder, source)
        return self.run("publish", address, source, *args, **options)

    def mount(self, *args, path=None, purpose=None, run=None, env=None, **options):
        """A Mount, to be used with `with` (or start/stop; what stays is unmounted when the test ends)."""
        args = list(args)
        args += (["--purpose", purpose] if purpose else []) + (["--run", run] if run else [])
        mount = Mount(self, path or self.folder / f"mnt{len(self.mounts)}", args, env, **options)
        self.mounts.append(mount)
        return mount

    def close(self):
        for mount in self.mounts:
            mount.stop(check=False)
        with open("/proc/self/mountinfo") as table:
            left = [line.split()[4] for line in table if line.split()[4].startswith(str(self.folder) + "/")]
        for path in left:
            unmount(path)
        self.runtime.cleanup()
