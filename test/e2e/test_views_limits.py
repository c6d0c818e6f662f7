"""Views through mounts at their limits: values at the bounds of masks, decisions whose time ends, clocks that are wrong, rows that are too long, memory."""
import csv
import errno
import gzip
import io
import json
import os
import subprocess
import time

import pytest

from meshkit import binary
from servers import tool, wait_for
from test_views_oracle import Tool

COLUMNS = {"id": "integer", "age": "number", "zip": "string", "born": "date", "seen": "timestamp", "name": "string", "note": "string"}


def contract(path, columns=COLUMNS):
    path.write_text("apiVersion: v3.1.0\nkind: DataContract\nid: t\nname: t\nversion: 1.0.0\nstatus: active\nschema:\n  - name: t\n    properties:\n" +
                    "".join(f"      - {{ name: {n}, logicalType: {t}, classification: public }}\n" for n, t in columns.items()))
    return path


def rules(mesh, text):
    (mesh.folder / "policy" / "p.policy").write_text("policy p scope mesh version 1\n\n" + text)


def table(kind, rows):
    if kind == "csv":
        out = io.StringIO()
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
        return out.getvalue()
    return "".join(json.dumps(r) + "\n" for r in rows)


def read(path):
    text = path.read_text()
    if path.suffix == ".csv":
        return [{k: v or None for k, v in r.items()} for r in csv.DictReader(io.StringIO(text))]
    return [json.loads(line) for line in text.splitlines()]


MASKS = """mask ages
  columns named age
  with round 10
  when purpose == a
mask old
  columns named age
  with top 89
  when purpose == b
mask areas
  columns named zip
  with zip3
mask births
  columns named born
  with year
mask times
  columns named seen
  with month
mask first
  columns named name
  with partial first 2
  when purpose == a
mask last
  columns named name
  with partial last 2
  when purpose == b
"""
ROWS = [  # age, round 10, top 89; zip, zip3; born, year; seen, month; name, first 2, last 2
    (0, 0, 0, "12345", "123", "2000-02-29", "2000-01-01", "2024-05-31T23:59:59Z", "2024-05-01T00:00:00Z", "ab", "**", "**"),
    (4.999, 0, 4.999, "03601", "000", "1999-12-31", "1999-01-01", "2024-12-01 00:00:00", "2024-12-01 00:00:00", "abc", "ab*", "*bc"),
    (5, 10, 5, "12345-6789", "123", "1900-02-29", None, "2024-01-15", "2024-01-01", "a", "*", "*"),
    (-5, -10, -5, "1234", None, "1678-01-01", "1678-01-01", "2024-13-01T00:00:00Z", None, "", "", ""),
    (89, 90, 89, "0123", None, "31.12.1999", None, "yesterday", None, "äöüß", "äö**", "**üß"),
    (89.5, 90, 89, "ABCDE", None, "2261-12-31", "2261-01-01", "2024-05-17T10:11:12+02:00", "2024-05-01T00:00:00+02:00", "日本語", "日本*", "*本語"),
    (1e3, 1000, 89, "99999", "999", "", None, "2024-05-17T10:11:12.999Z", "2024-05-01T00:00:00.000Z", "xyz ", "xy**", "**z "),
]


@pytest.mark.parametrize("kind", ["csv", "jsonl"])
def test_masks_at_their_bounds(mesh, fuse, kind):
    mesh.domain("d")
    rows = [dict(zip(COLUMNS, (i, r[0], r[3], r[5], r[7], r[9], "n"))) for i, r in enumerate(ROWS)]
    mesh.publish("d/t/1.0.0", {f"t.{kind}": table(kind, rows)}, "--contract", contract(mesh.folder / "c.yaml"), "--with-failures", "dates that are none")
    rules(mesh, MASKS)
    with mesh.mount(purpose="a") as a, mesh.mount(purpose="b") as b:
        for got, want, age, name in ((read(a.path / f"d/t/1.0.0/t.{kind}"), ROWS, 1, 10), (read(b.path / f"d/t/1.0.0/t.{kind}"), ROWS, 2, 11)):
            for g, w in zip(got, want, strict=True):
                assert float(g["age"]) == w[age] and (g["name"] or "") == w[name], (g, w)
                assert (g["zip"], g["born"], g["seen"]) == (w[4], w[6], w[8]), (g, w)


# -- time ------------------------------------------------------------------------------------------

CLOCK = r"""
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>
static volatile long *skew;
__attribute__((constructor)) static void start(void)
{
	int fd = open(getenv("TEST_SKEW"), O_RDONLY);
	skew = fd < 0 ? NULL : mmap(NULL, sizeof *skew, PROT_READ, MAP_SHARED, fd, 0);
}
int clock_gettime(clockid_t id, struct timespec *t)
{
	long r = syscall(SYS_clock_gettime, id, t);
	if (!r && id == CLOCK_REALTIME && skew)
		t->tv_sec += *skew;
	return (int)r;
}
"""
DAY = 86400


class Clock:
    def __init__(self, folder):
        self.file, library = folder / "skew", folder / "clock.so"
        (folder / "clock.c").write_text(CLOCK)
        subprocess.run([tool("cc", "gcc"), "-shared", "-fPIC", "-o", library, folder / "clock.c"], check=True)
        self.set(0)
        self.env = {"LD_PRELOAD": str(library), "TEST_SKEW": str(self.file)}

    def set(self, seconds):
        with open(self.file, "r+b" if self.file.exists() else "wb") as f:
            f.write(int(seconds).to_bytes(8, "little", signed=True))


@pytest.fixture
def clock(tmp_path):
    if any(s in os.environ.get("MESHFS_BIN", "") for s in ("asan", "tsan")):
        pytest.skip("a preloaded library and the sanitizer's do not mix")
    return Clock(tmp_path)


def day(offset):
    return time.strftime("%Y-%m-%d", time.gmtime(time.time() + offset * DAY))


def opens(path):
    try:
        return path.read_text()
    except OSError as error:
        return error.errno


def test_an_exemption_ends_while_mounted_and_a_clock_set_back_does_not_bring_it_back(mesh, fuse, clock):
    mesh.domain("d")
    mesh.publish("d/t/1.0.0", {"t.csv": "id,note\n1,secret\n"}, "--contract", contract(mesh.folder / "c.yaml", {"id": "integer", "note": "string"}))
    rules(mesh, f"mask notes\n  columns named note\n  with redact\n\nexempt until-later from p/notes\n  when purpose == audit\n  until {day(2)}\n")
    with mesh.mount(purpose="audit", env=clock.env) as m:
        path = m.path / "d/t/1.0.0/t.csv"
        policy = m.path / "d/t/1.0.0/.mesh/policy.txt"
        assert opens(path) == "id,note\n1,secret\n" and "until-later" in policy.read_text() and "This holds until" in policy.read_text()
        held = open(path)
        clock.set(3 * DAY)
        wait_for(lambda: opens(path) == "id,note\n1,REDACTED\n", what="the end of the exemption")
        assert os.stat(path).st_size == len("id,note\n1,REDACTED\n") and "redact" in os.getxattr(path, "user.mesh.policy").decode()
        assert "until-later" not in policy.read_text()
        clock.set(0)
        for _ in range(30):
            assert opens(path) in ("id,note\n1,REDACTED\n", errno.ESTALE)
            time.sleep(0.05)
        assert "clock" in policy.read_text() and "clock was set back" in m.log()
        held.close()
        clock.set(3 * DAY)
        wait_for(lambda: "clock" not in policy.read_text(), what="a clock that is right again")
        assert opens(path) == "id,note\n1,REDACTED\n"


def test_a_clock_that_was_wrong_before_the_mount_brings_no_exemption_back(mesh, fuse, clock):
    """The version is older than what the clock shows; that the clock is wrong only the domain's newest catalog tells."""
    mesh.domain("d")
    clock.set(-100 * DAY)
    terms = contract(mesh.folder / "c.yaml", {"id": "integer", "note": "string"})
    mesh.publish("d/t/1.0.0", {"t.csv": "id,note\n1,secret\n"}, "--contract", terms, env=clock.env)
    mesh.publish("d/u/1.0.0", {"u.csv": "id,note\n1,x\n"}, "--contract", terms)
    rules(mesh, f"mask notes\n  columns named note\n  with redact\n\nexempt once from p/notes\n  when purpose == audit\n  until {day(-40)}\n")
    clock.set(-50 * DAY)
    with mesh.mount(purpose="audit", env=clock.env) as m:
        wait_for(lambda: opens(m.path / "d/t/1.0.0/t.csv") == "id,note\n1,REDACTED\n", what="the view")
        assert "clock" in (m.path / "d/t/1.0.0/.mesh/policy.txt").read_text()
        assert "in the future as the clock of this machine has it" in m.log()
    clock.set(0)
    with mesh.mount(purpose="audit", env=clock.env) as m:
        assert opens(m.path / "d/t/1.0.0/t.csv") == "id,note\n1,REDACTED\n"
        assert f"exempt 'once' expired at {day(-40)}" in m.log() and "in the future" not in m.log()


def test_an_embargo_ends_and_a_denial_begins_while_mounted(mesh, fuse, clock):
    mesh.domain("d")
    mesh.publish("d/t/1.0.0", {"t.bin": "x" * 5_000_000, "u.bin": "y"})
    rules(mesh, f"deny embargo\n  files d/t/*/u.bin\n  when now < {day(2)}\n\ndeny too-late\n  files d/t/*/t.bin\n  when now >= {day(2)}\n")
    with mesh.mount(env=clock.env) as m:
        early, late = m.path / "d/t/1.0.0/u.bin", m.path / "d/t/1.0.0/t.bin"
        assert opens(early) == errno.EACCES
        with open(late, "rb", buffering=0) as held:
            assert os.pread(held.fileno(), 4096, 0) == b"x" * 4096
            clock.set(3 * DAY)
            wait_for(lambda: opens(early) == "y", what="the end of the embargo")
            assert opens(late) == errno.EACCES
            with pytest.raises(OSError) as stale:  # what the kernel has not yet
                os.pread(held.fileno(), 4096, 4_900_000)
            assert stale.value.errno == errno.ESTALE
        clock.set(-3 * DAY)  # long before the version was published: nobody knows what time it is
        wait_for(lambda: opens(early) == errno.EACCES, what="the denial")
        assert opens(late) == errno.EACCES
    clock.set(-3 * DAY)
    out = mesh.run("policy", "explain", "d/t/1.0.0/u.bin", env=clock.env).stdout
    assert "deny" in out.lower() and "clock of this machine is wrong" in out


# -- rows and memory -------------------------------------------------------------------------------

def peak_kib(m):
    if "san" in os.path.basename(binary()):
        return 0  # sanitizers have memory of their own
    with open(f"/proc/{m.process.pid}/status") as status:
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))


def test_a_row_that_is_too_long_denies_its_file_and_says_why(mesh, fuse, tmp_path):
    limit = 64 << 20
    wide = "w" * (limit + 100)
    named = contract(mesh.folder / "c.yaml", {"id": "integer", "note": "string"})
    spec = "contract\n  - {name: id, logicalType: integer}\n  - {name: note, logicalType: string}\nend\nmask note drop\n"
    views = Tool(tmp_path)
    mesh.domain("d")
    for name, data in (("t.csv", f"id,note\n1,a\n2,{wide}\n3,c\n".encode()), ("t.jsonl", b'{"id":1,"note":"a"}\n{"id":2,"note":"' + wide.encode() + b'"}\n'),
                       ("t.csv.gz", gzip.compress(f"id,note\n1,a\n2,{wide}\n".encode(), 1))):
        got, why = views(spec, name, data, 1 << 30)
        assert got is None and why[0] == "denied" and "longer than 64 MiB" in why[1], (name, why)
        # Its contract's checks have no answer either: they fail, and whoever publishes it nevertheless says why.
        address = f"d/{name.replace('.', '-')}/1.0.0"
        refusal = mesh.publish(address, {name: data}, "--contract", named, status=3)
        assert "longer than 64 MiB" in refusal.stderr, refusal.stderr
        mesh.publish(address, {name: data, "more.csv": "id,note\n1,x\n"}, "--contract", named, "--with-failures", "one row is huge")
        mesh.publish(address.replace("d/", "d/bare-"), {name: data})  # no contract, no checks
    views.close()
    rules(mesh, "drop notes\n  columns named note\n  when purpose == part\n")
    with mesh.mount(purpose="part") as m:
        for name in ("t.csv", "t.jsonl", "t.csv.gz"):
            version = m.path / f"d/{name.replace('.', '-')}/1.0.0"
            for attempt in range(2):
                assert opens(version / name) == errno.EACCES and os.stat(version / name).st_size == 0
            told = (version / ".mesh/policy.txt").read_text()
            assert told.count(f"\n  {name}: it cannot be filtered: a record is longer than 64 MiB") == 1, told
            assert "longer than 64 MiB" in os.getxattr(version / name, "user.mesh.policy").decode()
            assert (version / "more.csv").read_text() == "id\n1\n"
        assert "wwww" not in m.log() and peak_kib(m) < 500 << 10, peak_kib(m)
    with mesh.mount(purpose="all") as m:  # whom no rule concerns gets it as it is
        assert os.stat(m.path / "d/t-csv/1.0.0/t.csv").st_size == len(f"id,note\n1,a\n2,{wide}\n3,c\n")
    fits = f"id,note\n1,a\n2,{'w' * (limit - 4096)}\n3,c\n"
    mesh.publish("d/t/1.0.0", {"fits.csv": fits}, "--contract", named)
    rules(mesh, "filter some\n  rows row.id != 3\n")
    with mesh.mount() as m:
        path = m.path / "d/t/1.0.0/fits.csv"
        assert os.stat(path).st_size == len(fits) - len("3,c\n") and path.read_text() == fits[:-4]
        assert peak_kib(m) < 500 << 10, peak_kib(m)


def test_memory_does_not_follow_the_size_of_the_file(mesh, fuse):
    mesh.domain("d")
    line = "{},{}\n"
    rows = 950_000
    path = mesh.folder / "big.csv"
    with open(path, "w") as f:
        f.write("id,note\n")
        f.writelines(line.format(i, "n" * 200) for i in range(rows))
    size = os.stat(path).st_size
    mesh.run("publish", "d/t/1.0.0", path, "--contract", contract(mesh.folder / "c.yaml", {"id": "integer", "note": "string"}), timeout=300)
    rules(mesh, "mask notes\n  columns named note\n  with hmac key k\n")
    mesh.run("policy", "key", "new", "k")
    with mesh.mount() as m:
        view = m.path / "d/t/1.0.0/big.csv"
        wanted = len("id,note\n") + sum(len(line.format(i, "h" * 32)) for i in range(rows))
        assert os.stat(view).st_size == wanted
        with open(view, "rb") as f:
            assert sum(len(part) for part in iter(lambda: f.read(1 << 20), b"")) == wanted
        assert size > 180 << 20 and peak_kib(m) < 400 << 10, peak_kib(m)
