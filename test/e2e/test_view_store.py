"""Indexes of views in a domain's store: computed once, taken by other hosts, never believed over what the file gives."""
import contextlib
import ctypes
import gzip
import hashlib
import os
import pty
import re
import select
import shutil
import signal
import struct
import time

import pytest

from meshkit import CONTRACT_HEAD
from servers import Faulty, wait_for

CONTRACT = CONTRACT_HEAD + """  - name: t
    properties:
      - { name: id, logicalType: integer, classification: public }
      - { name: keep, logicalType: string, classification: public }
      - { name: email, logicalType: string, classification: public, tags: [pii] }
"""
RULES = """policy p scope mesh version 1

filter kept
  rows row.keep == "yes"
  when purpose == training

drop email
  columns tagged pii
  when purpose == training

mask other
  columns tagged pii
  with null
  when purpose == audit
"""
class Low64High64(ctypes.Structure):
    _fields_ = [("low", ctypes.c_uint64), ("high", ctypes.c_uint64)]


XXHASH = ctypes.CDLL("libxxhash.so.0")
XXHASH.XXH3_128bits.restype = Low64High64
XXHASH.XXH3_128bits.argtypes = [ctypes.c_char_p, ctypes.c_size_t]


def xxh128(data):
    h = XXHASH.XXH3_128bits(data, len(data))
    return h.high.to_bytes(8, "big") + h.low.to_bytes(8, "big")


HEADER, RECORD = 80, 32  # of an index; a set has a header of 80 and records of 40


def table(rows, start=0, keep=lambda i: i % 3 == 0):
    return "id,keep,email\n" + "".join(f"{i},{'yes' if keep(i) else 'no'},u{i}@example.org{'x' * 60}\n" for i in range(start, start + rows))


def shown(text):
    lines = [line.split(",") for line in text.splitlines()]
    return "id,keep\n" + "".join(f"{a},{b}\n" for a, b, _ in lines[1:] if b == "yes")


def scene(mesh, views="[{ purpose: training }]"):
    mesh.domain("d")
    (mesh.folder / "policy" / "p.policy").write_text(RULES)
    (mesh.folder / "c.yaml").write_text(CONTRACT)
    if views:
        mesh.file.write_text(mesh.file.read_text() + f"views: {views}\n")


def publish(mesh, address, files):
    mesh.publish(address, files, "--contract", mesh.folder / "c.yaml")


def stored(mesh, domain="d"):
    return sorted((mesh.folder / "stores" / domain / ".mesh" / "views").glob("*/*"))


def forget(mesh):
    """As a host that has never read anything."""
    shutil.rmtree(mesh.folder / "home" / "cache", ignore_errors=True)


def counted(mesh, path):
    """Bytes of the store that a mount fetched so far."""
    text = (path / ".mesh" / "metrics").read_text()
    return int(float(re.search(r"^meshfs_fetched_bytes_total (\S+)", text, re.M)[1]))


def hashed(path):
    try:
        return os.getxattr(path, "user.mesh.hash").decode()
    except OSError:
        return None


def rewrite(path, change):
    """Changes the one index in a set, and mends the sums, as someone would who knows the format."""
    data = bytearray(path.read_bytes())
    start, length = HEADER + 40, struct.unpack_from("<Q", data, HEADER + 32)[0]
    index = bytearray(data[start:start + length - 16])
    change(index)
    data[start:start + length] = index + xxh128(bytes(index))
    body = bytes(data[:-16])
    path.write_bytes(body + xxh128(body))


def lengths(index):
    return [struct.unpack_from("<Q", index, HEADER + RECORD * i)[0] for i in range(struct.unpack_from("<I", index, 16)[0])]


def set_lengths(index, values):
    for i, value in enumerate(values):
        struct.pack_into("<Q", index, HEADER + RECORD * i, value)
    struct.pack_into("<Q", index, 24, sum(values))


def test_computed_at_publish_and_taken_by_another_host(mesh):
    scene(mesh)
    files = {"a.csv": table(60000), "small/b.csv": table(50)}
    publish(mesh, "d/t/1.0.0", files)
    manifest = [p.name for p in (mesh.folder / "stores/d/.mesh/manifests").iterdir()]
    sets = stored(mesh)
    assert len(sets) == 1 and sets[0].parent.name in manifest and re.fullmatch("[0-9a-f]{64}", sets[0].name)
    text = sets[0].read_bytes()
    assert b"example.org" not in text and b"yes" not in text and b"row.keep" not in text
    forget(mesh)
    with mesh.mount(purpose="training") as m:
        at = m.path / "d/t/1.0.0"
        want = {n: shown(t).encode() for n, t in files.items()}
        before = counted(mesh, m.path)
        assert {n: os.stat(at / n).st_size for n in files} == {n: len(w) for n, w in want.items()}
        assert counted(mesh, m.path) == before  # no byte of the data was needed for that
        assert {n: (at / n).read_bytes() for n in files} == want
        # What was read through is proven, and from then on as good as what is computed here.
        wait_for(lambda: hashed(at / "a.csv") == xxh128(want["a.csv"]).hex(), what="the proof")
    assert not re.search("thrown away|not a sound", m.log())


def test_for_subjects_that_used_the_version_before(mesh):
    scene(mesh, views=None)
    publish(mesh, "d/t/1.0.0", {"a.csv": table(50)})
    assert not stored(mesh)
    with mesh.mount(purpose="audit") as m:
        assert len((m.path / "d/t/1.0.0/a.csv").read_text().splitlines()) == 51
    publish(mesh, "d/t/1.1.0", {"a.csv": table(80)})
    sets = stored(mesh)
    assert len(sets) == 1  # of the new version, for the purpose that read the old one
    forget(mesh)
    with mesh.mount(purpose="audit") as m:
        before = counted(mesh, m.path)
        size = os.stat(m.path / "d/t/1.1.0/a.csv").st_size
        assert counted(mesh, m.path) == before
        assert size == len((m.path / "d/t/1.1.0/a.csv").read_bytes())


def draft(mount, version, files):
    """Publishes through the mount, as `mv` does."""
    folder = mount / f"d/t/{version}.draft"
    folder.mkdir(parents=True)
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / ".mesh/contract.yaml").write_text(CONTRACT)
    os.rename(folder, mount / f"d/t/{version}")


def sizes_take_no_data(mesh, version, files, purpose="training"):
    forget(mesh)
    with mesh.mount(purpose=purpose) as m:
        before = counted(mesh, m.path)
        assert {n: os.stat(m.path / "d/t" / version / n).st_size for n in files} == {n: len(shown(t)) for n, t in files.items()}
        assert counted(mesh, m.path) == before


def test_a_draft_computes_them_after_its_rename(mesh):
    scene(mesh)
    files = {"a.csv": table(60000), "b.csv": table(50)}
    with mesh.mount() as m:
        draft(m.path, "1.0.0", files)
        wait_for(lambda: stored(mesh), what="the index in the store")  # while mounted
    assert len(stored(mesh)) == 1
    sizes_take_no_data(mesh, "1.0.0", files)
    stored(mesh)[0].unlink()
    with mesh.mount() as m:  # one that ends at once does it first
        draft(m.path, "1.1.0", {"a.csv": table(70)})
    assert len(stored(mesh)) == 1
    sizes_take_no_data(mesh, "1.1.0", {"a.csv": table(70)})


def test_a_draft_computes_them_for_who_used_the_version_before(mesh):
    scene(mesh, views=None)
    publish(mesh, "d/t/1.0.0", {"a.csv": table(50)})
    with mesh.mount(purpose="training") as m:
        assert (m.path / "d/t/1.0.0/a.csv").read_text() == shown(table(50))
    with mesh.mount() as m:
        draft(m.path, "1.1.0", {"a.csv": table(90)})
        wait_for(lambda: stored(mesh), what="the index in the store")
    sizes_take_no_data(mesh, "1.1.0", {"a.csv": table(90)})


def test_a_run_that_publishes_computes_them(mesh):
    scene(mesh)
    (mesh.folder / "a.csv").write_text(table(500))
    mesh.run("run", "--purpose", "etl", "--", "sh", "-ec", f"""cd "$MESHFS_MOUNT"/d; mkdir -p t/1.0.0.draft; cp {mesh.folder}/a.csv t/1.0.0.draft/
        cp {mesh.folder}/c.yaml t/1.0.0.draft/.mesh/contract.yaml; mv t/1.0.0.draft t/1.0.0""")
    sizes_take_no_data(mesh, "1.0.0", {"a.csv": table(500)})


def test_on_demand_a_large_file_is_offered(mesh):
    scene(mesh, views=None)
    text = table(120000)
    assert len(text) > 8 << 20
    publish(mesh, "d/t/1.0.0", {"a.csv": text})
    with mesh.mount(purpose="training") as m:
        assert os.stat(m.path / "d/t/1.0.0/a.csv").st_size == len(shown(text))
        wait_for(lambda: stored(mesh), what="the index in the store")
    assert len(stored(mesh)) == 1 and "." in stored(mesh)[0].name
    forget(mesh)
    with mesh.mount(purpose="training") as m:
        before = counted(mesh, m.path)
        assert os.stat(m.path / "d/t/1.0.0/a.csv").st_size == len(shown(text))
        assert counted(mesh, m.path) == before


LIES = {
    "a size that is too short": lambda x: set_lengths(x, [lengths(x)[0] // 2, *lengths(x)[1:]]),
    "a chunk that is left out": lambda x: set_lengths(x, [*lengths(x)[:2], 0, *lengths(x)[3:]]),
    "the end that is left out": lambda x: set_lengths(x, [*lengths(x)[:-2], 0, 0]),
    "a size that is too long": lambda x: set_lengths(x, [*lengths(x)[:-1], lengths(x)[-1] + 1000]),
    "all in one piece": lambda x: struct.pack_into("<I", x, 12, 2),
    "a kind that none has": lambda x: struct.pack_into("<I", x, 12, 1),
    "no rows at all": lambda x: set_lengths(x, [0] * len(lengths(x))),
    "another hash": lambda x: x.__setitem__(slice(HEADER + 16, HEADER + 20), b"\0\1\2\3"),
    "another hash of the whole": lambda x: x.__setitem__(slice(64, 68), b"\0\1\2\3"),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_lie_is_found_and_replaced(mesh, lie):
    scene(mesh)
    text = table(60000)
    publish(mesh, "d/t/1.0.0", {"a.csv": text})
    rewrite(stored(mesh)[0], LIES[lie])
    forget(mesh)
    want = shown(text).encode()

    def read(path):
        try:
            return path.read_bytes()
        except OSError as error:
            assert error.errno == 116, error  # ESTALE
            return None

    with mesh.mount(purpose="training") as m:
        path = m.path / "d/t/1.0.0/a.csv"
        with open(path, "rb") as held:  # readers that stay
            try:
                while held.read(65536):
                    pass
            except OSError as error:
                assert error.errno == 116, error
            # Whoever asks again gets what the file gives, once it was found out.
            wait_for(lambda: read(path) == want and os.stat(path).st_size == len(want) and hashed(path) == xxh128(want).hex(), what="the truth")
        if lie != "no rows at all":  # which is computed whatever a store says
            assert ("is not sound" if "none has" in lie else "thrown away") in m.log(), m.log()
    with mesh.mount(purpose="training") as m:  # and it stays found out
        assert (m.path / "d/t/1.0.0/a.csv").read_bytes() == want
        assert "thrown away" not in m.log()


def test_a_lie_about_a_file_that_is_made_in_one_piece(mesh):
    scene(mesh)
    text = table(3000)
    publish(mesh, "d/t/1.0.0", {"a.csv.gz": gzip.compress(text.encode())})
    rewrite(stored(mesh)[0], LIES["a size that is too long"])
    forget(mesh)
    with mesh.mount(purpose="training") as m:
        path = m.path / "d/t/1.0.0/a.csv.gz"
        with pytest.raises(OSError):
            path.read_bytes()
        wait_for(lambda: gzip.decompress(path.read_bytes()) == shown(text).encode(), what="the truth")
        assert "thrown away" in m.log()


@pytest.mark.parametrize("damage", ["cut", "flipped", "other place", "empty", "junk"])
def test_a_damaged_or_moved_set_is_passed_over(mesh, damage):
    scene(mesh)
    text = table(20000)
    publish(mesh, "d/t/1.0.0", {"a.csv": text})
    publish(mesh, "d/t/1.1.0", {"a.csv": table(20000, 7)})
    one, other = stored(mesh)
    data = one.read_bytes()
    if damage == "cut":
        other.write_bytes(other.read_bytes()[:-20])
        one.write_bytes(data[:-20])
    elif damage == "flipped":
        for path in (one, other):
            bad = bytearray(path.read_bytes())
            bad[100] ^= 1
            path.write_bytes(bad)
    elif damage == "other place":
        one.write_bytes(other.read_bytes())
        other.write_bytes(data)
    else:
        for path in (one, other):
            path.write_bytes(b"" if damage == "empty" else os.urandom(3000))
    forget(mesh)
    with mesh.mount(purpose="training") as m:
        assert (m.path / "d/t/1.0.0/a.csv").read_bytes() == shown(text).encode()
        assert "not a sound index" in m.log()
    assert mesh.run("policy", "apply").returncode == 0  # mends the store
    forget(mesh)
    with mesh.mount(purpose="training") as m:
        before = counted(mesh, m.path)
        os.stat(m.path / "d/t/1.1.0/a.csv")
        assert counted(mesh, m.path) == before


def test_gc_lets_them_go_with_their_version(mesh):
    scene(mesh)
    publish(mesh, "d/t/1.0.0", {"a.csv": table(50)})
    publish(mesh, "d/t/1.1.0", {"a.csv": table(80)})
    assert len(stored(mesh)) == 2
    mesh.run("gc", "d", "--grace", "0s")
    mesh.run("gc", "d", "--grace", "0s")
    assert len(stored(mesh)) == 2
    mesh.run("withdraw", "d/t/1.0.0", "--reason", "x")
    mesh.run("gc", "d", "--grace", "0s")
    mesh.run("gc", "d", "--grace", "0s")
    assert len(stored(mesh)) == 1


def test_http_readers_take_them_and_store_nothing(mesh, meshes, nginx, tmp_path):
    scene(mesh)
    text = table(30000)
    publish(mesh, "d/t/1.0.0", {"a.csv": text})
    shutil.copytree(mesh.folder / "stores/d", nginx.root / "d")
    reader = meshes()
    reader.domain("d", f"{nginx.url}/d")
    (reader.folder / "policy" / "p.policy").write_text(RULES)
    shutil.copy(mesh.folder / "policy/d.policy", reader.folder / "policy/d.policy")
    with reader.mount(purpose="training") as m:
        before = counted(reader, m.path)
        assert os.stat(m.path / "d/t/1.0.0/a.csv").st_size == len(shown(text))
        assert counted(reader, m.path) == before
        assert (m.path / "d/t/1.0.0/a.csv").read_bytes() == shown(text).encode()
        # A purpose that nobody computed for is computed here and kept here.
    with reader.mount(purpose="audit") as m:
        assert len((m.path / "d/t/1.0.0/a.csv").read_text().splitlines()) == 30001


def test_two_publishers_of_indexes_join_theirs(mesh):
    scene(mesh)
    publish(mesh, "d/t/1.0.0", {"a.csv": table(50), "b/c.csv": table(70)})
    whole = stored(mesh)[0].read_bytes()
    stored(mesh)[0].unlink()
    forget(mesh)
    mesh.run("warm", "d/t/1.0.0/b", "--purpose", "training")
    part = stored(mesh)[0].read_bytes()
    assert len(part) < len(whole)
    forget(mesh)
    mesh.run("policy", "apply")
    assert stored(mesh)[0].read_bytes() == whole
    digest = hashlib.sha256(whole).digest()
    mesh.run("policy", "apply")
    assert hashlib.sha256(stored(mesh)[0].read_bytes()).digest() == digest


# -- who waits ------------------------------------------------------------------------------------

@pytest.fixture
def stalled(mesh, meshes, tmp_path):
    """A mesh whose catalog is at hand and whose store falls silent in the middle of every object of data."""
    scene(mesh)
    publish(mesh, "d/t/1.0.0", {"a.csv": "id,keep,email\n" + "".join(f"{i},yes,{os.urandom(40).hex()}\n" for i in range(20000)), "b.csv": table(9)})
    shutil.rmtree(mesh.folder / "stores/d/.mesh/views")
    with Faulty(tmp_path / "faulty", mesh.folder / "stores") as server:
        reader = meshes()
        reader.domain("d", f"{server.url}/d")
        reader.file.write_text(reader.file.read_text() + "views: [{ purpose: training }]\n")
        (reader.folder / "policy/p.policy").write_text(RULES)
        shutil.copy(mesh.folder / "policy/d.policy", reader.folder / "policy/d.policy")
        reader.run("show", "d/t/1.0.0")
        reader.run("ls", "-R", "d/t/1.0.0")
        yield reader, server


def on_a_terminal(mesh, words, until, limit=30):
    """The command on a terminal of its own, interrupted when it has shown `until`: exit status, all that was shown, seconds after the interrupt."""
    pid, terminal = pty.fork()
    if not pid:
        os.chdir(mesh.folder)
        os.execve(mesh.command()[0], [*mesh.command(), *words], mesh.environment())
    shown, asked, end = b"", None, time.monotonic() + limit
    with contextlib.suppress(OSError):  # EIO: the other side is gone
        while time.monotonic() < end:
            if select.select([terminal], [], [], 0.05)[0]:
                shown += os.read(terminal, 65536)
            if asked is None and re.search(until, shown):
                asked = time.monotonic()
                os.write(terminal, b"\x03")
    took = time.monotonic() - (asked or 0)
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL if time.monotonic() >= end else 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), shown.decode(), took


@pytest.mark.parametrize("words,label", [(["warm", "d/t/1.0.0", "--purpose", "training"], "warming"),
                                         (["warm", "d/t/1.0.0", "--purpose", "training", "--sizes"], "computing sizes"),
                                         (["policy", "apply"], "computing sizes")])
def test_who_waits_sees_that_it_goes_on_and_may_leave(stalled, words, label):
    mesh, server = stalled
    server.plan("ok", "stall*")  # the head, then data
    status, shown, took = on_a_terminal(mesh, words, rb"of 1\.\d MiB \(")
    assert status == 1 and took < 5, (status, took, shown)
    assert f"{label}: " in shown and re.search("interrupted: [01] (file is|files are|view is|views are) ", shown), shown
    server.plan()
    assert "2 " in mesh.run(*words).stdout  # nothing is half done
