"""What a reader can obtain: a child process of another uid that collects every byte, and the secrets that must not be among them.

    found = as_user(65534, 65534, work)       # {what: bytes}, gathered by `work` as that user
    assert not leaks(found, marker)
"""
import contextlib
import gzip
import io
import json
import mmap
import os
import pickle
import re
import subprocess
import tempfile

import pytest

pyarrow_parquet = pytest.importorskip("pyarrow.parquet")
zstandard = pytest.importorskip("zstandard")


def as_user(uid, gid, work):
    """The result of work() in a child process that is (uid, gid) and nothing else."""
    with tempfile.TemporaryFile() as out:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                os.setgroups([])
                os.setresgid(gid, gid, gid)
                os.setresuid(uid, uid, uid)
                pickle.dump(work(), out)
                out.flush()
                code = 0
            except BaseException as error:  # noqa: BLE001: told to the parent, which fails
                out.seek(0)
                out.truncate()
                pickle.dump(error, out)
                out.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        out.seek(0)
        result = pickle.load(out)
    if status:
        raise AssertionError(f"the child process failed: {result!r}")
    return result


def slurp(path):
    with open(path, "rb") as f:
        return f.read()


def ways_to_read(path):
    """The bytes of a file by every way that differs in the kernel."""
    yield "read", slurp(path)
    fd = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(fd).st_size
        yield "stat", repr(os.stat(path)).encode()
        yield "past the end", os.pread(fd, 1 << 16, size) + os.pread(fd, 1 << 16, max(size - 10, 0))
        with contextlib.suppress(OSError):
            yield "seek", repr((os.lseek(fd, 0, os.SEEK_DATA), os.lseek(fd, 0, os.SEEK_HOLE))).encode()
        if size:
            with mmap.mmap(fd, 0, prot=mmap.PROT_READ) as view:  # the rest of the last page, too
                yield "mmap", bytes(view)
    finally:
        os.close(fd)
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDONLY | os.O_DIRECT)
        try:
            room = mmap.mmap(-1, 1 << 20)
            n = os.preadv(fd, [room], 0)
            yield "direct", room[:n]
        finally:
            os.close(fd)


class Collector:
    def __init__(self):
        self.found = {}

    def add(self, what, data):
        self.found[what] = self.found.get(what, b"") + data

    def entry(self, path):
        self.add(f"name {path}", os.fsencode(os.path.basename(path)))
        with contextlib.suppress(OSError):
            self.add(f"stat {path}", repr(os.lstat(path)).encode())
        if os.path.islink(path):
            with contextlib.suppress(PermissionError):
                self.add(f"link {path}", os.fsencode(os.readlink(path)))
        with contextlib.suppress(OSError):
            for name in os.listxattr(path):
                self.add(f"xattr {path}", name.encode() + b"=" + os.getxattr(path, name))

    def file(self, path):
        self.entry(path)
        try:
            for way, data in ways_to_read(path):
                self.add(f"{way} {path}", data)
        except OSError as error:
            self.add(f"error {path}", repr(error).encode())

    def tree(self, top):
        """All that is listed, and the .mesh folders that are not."""
        for folder, folders, files in os.walk(top, onerror=lambda e: self.add("error", repr(e).encode())):
            for name in [*folders, *files]:
                path = os.path.join(folder, name)
                if os.path.isfile(path):
                    self.file(path)
                else:
                    self.entry(path)
            meta = os.path.join(folder, ".mesh")
            if os.path.isdir(meta) and not folder.endswith(".mesh"):
                folders.append(".mesh")

    def searches(self, top, words):
        for word in words:
            folder = os.path.join(top, ".mesh/search", word)
            with contextlib.suppress(OSError):
                for name in os.listdir(folder):
                    self.entry(os.path.join(folder, name))

    def open_files(self, pid):
        for name in ("environ", "cmdline", "maps", "status", "mem", "auxv", "io", "stack"):
            with contextlib.suppress(OSError):
                self.add(f"proc {name}", slurp(f"/proc/{pid}/{name}"))
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{pid}/fd"):
                self.file(f"/proc/{pid}/fd/{fd}")

    def commands(self, command, environment, lines):
        for line in lines:
            done = subprocess.run([*command, *line], capture_output=True, env=environment, cwd="/", stdin=subprocess.DEVNULL, timeout=60)
            self.add("command " + " ".join(line), done.stdout + done.stderr)


def decoded(found):
    """What is compressed or encoded, also as text."""
    more = {}
    for what, data in found.items():
        path = what.split(" ", 1)[-1]
        if not what.startswith("read "):
            continue
        with contextlib.suppress(Exception):
            if path.endswith(".gz"):
                more[f"unpacked {what}"] = gzip.decompress(data)
            elif path.endswith(".zst"):
                more[f"unpacked {what}"] = zstandard.ZstdDecompressor().decompressobj().decompress(data)
            elif path.endswith(".parquet"):
                table = pyarrow_parquet.read_table(io.BytesIO(data))
                more[f"unpacked {what}"] = json.dumps(table.to_pydict(), default=str).encode() + repr(table.schema).encode()
    return more


def leaks(found, marker):
    """[(what, secret)] of everything that starts as secrets do: part of one would be a leak, too."""
    pattern = re.compile(re.escape(marker.encode()) + rb".{0,12}", re.IGNORECASE)
    return [(what, hit) for what, data in {**found, **decoded(found)}.items() for hit in pattern.findall(data)[:3]]
