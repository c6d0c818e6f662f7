"""The stores against real servers, driven through build/bench/store_tool."""
import array
import functools
import gzip
import os
import resource
import subprocess
import time

import pytest

from meshkit import NOISE, TOP
from servers import ACCESS, BUCKET, SECRET, Faulty

TOOL = TOP / "build/bench/store_tool"
pytestmark = pytest.mark.timeout(60)


@pytest.fixture(scope="session", autouse=True)
def built():
    subprocess.run(["make", "-s", "-C", TOP, "build/bench/store_tool"], check=True, capture_output=True)


class Tool:
    """store_tool with a URL; calls give stdout bytes, or raise Refused with the errno's name and the message."""

    def __init__(self, url, *options, env=None):
        self.url, self.options, self.env, self.memory = url, options, env or {}, None

    def __call__(self, *args):
        clean = {k: v for k, v in os.environ.items() if not k.startswith("AWS_")}
        done = subprocess.run([TOOL, *self.options, self.url, *map(str, args)], capture_output=True, timeout=100,
                              preexec_fn=self.memory and (lambda: resource.setrlimit(resource.RLIMIT_DATA, (self.memory, self.memory))),
                              env={**clean, "HOME": "/nonexistent", **self.env})
        self.stderr = done.stderr.decode()
        assert not NOISE.search(self.stderr), self.stderr
        assert SECRET not in self.stderr and "Signature=" not in self.stderr
        if done.returncode:
            name, _, message = self.stderr.strip().splitlines()[-1].partition(": ")
            raise Refused(name, message)
        return done.stdout


class Refused(Exception):
    def __init__(self, name, message):
        super().__init__(f"{name}: {message}")
        self.name, self.message = name, message


def refused(name, tool, *args):
    with pytest.raises(Refused) as e:
        tool(*args)
    assert e.value.name in name.split(), e.value
    return e.value.message


@functools.lru_cache
def pattern(size):
    """The numbers 0, 1, 2 … in 4 bytes each: a byte out of its place is a wrong one."""
    return array.array("I", range(size // 4 + 1)).tobytes()[:size]


def s3_tool(server, prefix, *options, env=None):
    return Tool(server.store(prefix), "-e", server.url, *options, env={**server.env, **(env or {})})


@pytest.fixture(params=["file", "moto", "rclones3", "versitygw"])
def writable(request, tmp_path):
    if request.param == "file":
        tool = Tool((tmp_path / "store").as_uri())
        tool.exclusive = True
    else:
        server = request.getfixturevalue(request.param)
        tool = s3_tool(server, "t/" + tmp_path.name)
        tool.exclusive = server.honours_exclusive
    tool("prepare")
    return tool


ODD = "data/a b+c&d=e%20f'(x)!~\u00e9\u4e2d#?;:@$,[]*\".csv"


def test_put_get_range_list_delete(writable, tmp_path):
    t = writable
    t("put", ".mesh/packs/ab", "0123456789")
    t("put", ODD, "odd")
    assert t("get", ".mesh/packs/ab") == b"0123456789"
    assert t("get", ODD) == b"odd"
    assert t("range", ".mesh/packs/ab", 2, 3) == b"234"
    assert t("fetch", ".mesh/packs/ab", 9, 1) == b"9"
    size, etag, modified = t("head", ".mesh/packs/ab").split()
    assert int(size) == 10 and int(modified) > 10**18
    assert t("range", ".mesh/packs/ab", 2, 3, etag.decode()) == b"234"
    refused("EBADMSG", t, "range", ".mesh/packs/ab", 8, 3)
    refused("EBADMSG", t, "range", ".mesh/packs/ab", 20, 3)
    listed = {line.split(b" ", 2)[2].decode(): int(line.split()[0]) for line in t("list", "").splitlines()}
    assert listed == {".mesh/packs/ab": 10, ODD: 3}
    assert [x.split(b" ", 2)[2] for x in t("list", ".mesh/p").splitlines()] == [b".mesh/packs/ab"]
    assert t("list", "nothing/") == b""
    t("put", ".mesh/packs/ab", "changed")
    assert "changed" in refused("ESTALE", t, "range", ".mesh/packs/ab", 2, 3, etag.decode())
    t("delete", ".mesh/packs/ab")
    t("delete", ".mesh/packs/ab")
    refused("ENOENT", t, "get", ".mesh/packs/ab")
    refused("ENOENT", t, "head", ".mesh/packs/ab")
    refused("ENOENT", t, "fetch", ".mesh/packs/ab", 0, 1)
    refused("ENOENT", t, "getfile", ".mesh/packs/ab", tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_exclusive_create(writable):
    assert writable("probe").decode().strip() == ("exclusive" if writable.exclusive else "not exclusive")
    assert writable("list", ".mesh/probe/") == b""
    if writable.exclusive:
        writable("putx", ".mesh/heads/1", "a")
        refused("EEXIST", writable, "putx", ".mesh/heads/1", "b")
        assert writable("get", ".mesh/heads/1") == b"a"


@pytest.mark.parametrize("size", [0, 1, 5 << 20, (32 << 20) + 1, 40 << 20])
def test_files_up_and_down(writable, tmp_path, size):
    data = pattern(size)
    (tmp_path / "up").write_bytes(data)
    assert int(writable("putfile", "packs/big", tmp_path / "up")) == size
    writable("getfile", "packs/big", tmp_path / "down")
    assert (tmp_path / "down").read_bytes() == data
    assert (tmp_path / "down").stat().st_mode & 0o777 == 0o600
    if size > 1 << 20:
        assert writable("parallel", "packs/big", 5, 1 << 20) == data[:5 << 20]


def test_long_lists_are_continued(versitygw, tmp_path):
    client = versitygw.client()
    for i in range(1203):
        client.put_object(Bucket=BUCKET, Key=f"many/{i:05}", Body=b"x")
    assert len(s3_tool(versitygw, "many")("list", "").splitlines()) == 1203


def test_an_upload_that_fails_leaves_no_parts(moto, tmp_path):
    (tmp_path / "up").write_bytes(pattern(40 << 20))
    tool = s3_tool(moto, "t")
    tool("putfile", "a", tmp_path / "up")
    assert not moto.client().list_multipart_uploads(Bucket=BUCKET).get("Uploads")


# -- S3's refusals, in words ------------------------------------------------------------------

def test_wrong_credentials_are_explained(versitygw):
    wrong_key = s3_tool(versitygw, "x", env={"AWS_ACCESS_KEY_ID": "nobody"})
    assert "access key" in refused("EACCES", wrong_key, "prepare")
    wrong_secret = s3_tool(versitygw, "x", env={"AWS_SECRET_ACCESS_KEY": "wrong"})
    assert "secret key" in refused("EACCES", wrong_secret, "prepare")
    assert "secret key" in refused("EACCES", wrong_secret, "head", "a")
    anonymous = Tool(versitygw.store("x"), "-e", versitygw.url)
    assert "no S3 credentials were found" in refused("EACCES", anonymous, "prepare")


def test_a_missing_bucket_is_not_an_absent_object(s3):
    t = Tool("s3://no-such-bucket-here/x", "-e", s3.url, env=s3.env)
    assert "no bucket" in refused("EIO", t, "prepare")
    assert "no bucket" in refused("EIO", t, "get", "a")


def test_credentials_from_files(versitygw, tmp_path):
    (tmp_path / "credentials").write_text(f"[default]\naws_access_key_id = x\naws_secret_access_key = y\n"
                                          f"[team]\naws_access_key_id={ACCESS}\naws_secret_access_key = {SECRET}\n")
    (tmp_path / "config").write_text(f"[profile team]\nregion = us-east-1\nendpoint_url = {versitygw.url}\ns3 =\n  x = y\n")
    env = {"AWS_SHARED_CREDENTIALS_FILE": str(tmp_path / "credentials"), "AWS_CONFIG_FILE": str(tmp_path / "config")}
    Tool(versitygw.store("c"), env={**env, "AWS_PROFILE": "team"})("prepare")
    assert "access key" in refused("EACCES", Tool(versitygw.store("c"), "-e", versitygw.url, env=env), "prepare")
    assert "no such profile" in refused("ENOENT", Tool(versitygw.store("c"), env={**env, "AWS_PROFILE": "none"}), "prepare")


# -- http -------------------------------------------------------------------------------------

def test_nginx(nginx, tmp_path):
    data = pattern(9 << 20)
    write(tmp_path / "www", "mesh/packs/p", data)
    write(tmp_path / "www", "mesh/" + ODD, b"odd")
    t = Tool(nginx.url + "/mesh")
    assert t("get", "packs/p") == data
    assert t("get", ODD) == b"odd"
    assert t("range", "packs/p", 5 << 20, 1000) == data[5 << 20:][:1000]
    assert t("parallel", "packs/p", 8, 1 << 20) == data[:8 << 20]
    t("getfile", "packs/p", tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == data
    refused("ENOENT", t, "get", "none")
    refused("EBADMSG", t, "range", "packs/p", 9 << 20, 1)
    assert "read only" in refused("EROFS", t, "put", "x", "y")
    refused("EOPNOTSUPP", t, "list", "")
    etag = t("head", "packs/p").split()[1].decode()
    assert t("fetch", "packs/p", 0, 10, etag) == data[:10]
    refused("ESTALE", t, "fetch", "packs/p", 0, 10, '"other"')


def write(root, name, data):
    (root / name).parent.mkdir(parents=True, exist_ok=True)
    (root / name).write_bytes(data)


def test_tls_is_verified(nginx_tls, tmp_path):
    write(tmp_path / "www", "a", b"secret bytes")
    assert "certificate" in refused("EIO", Tool(nginx_tls.url), "get", "a")
    for variable in ("MESHFS_CA_FILE", "SSL_CERT_FILE"):
        assert Tool(nginx_tls.url, env={variable: str(nginx_tls.ca)})("get", "a") == b"secret bytes"


def test_credentials_in_an_address_are_refused_and_not_repeated():
    message = refused("EINVAL", Tool("https://user:hunter2@host/x"), "get", "a")
    assert "hunter2" not in message


# -- a server that misbehaves -------------------------------------------------------------------

DATA = pattern(3 << 20)


@pytest.fixture
def bad(faulty, tmp_path):
    write(tmp_path / "www", "f", DATA)
    tool = Tool(faulty.url, "-c", "1000")
    tool.server = faulty
    return tool


@pytest.mark.parametrize("fault", ["500", "502", "503", "504", "429", "408", "close", "reset", "truncate", "stall", "silent", "nonsense"])
def test_a_passing_fault_is_not_noticed(bad, fault):
    bad.server.plan(fault)
    assert bad("fetch", "f", 1000, 2 << 20) == DATA[1000:][:2 << 20]
    assert len(bad.server.seen()) == 2
    bad.server.plan(fault)
    assert bad("get", "f") == DATA


def test_a_broken_read_goes_on_where_it_stopped(bad):
    bad.server.plan("reset", "truncate", "reset", "ok")
    assert bad("fetch", "f", 0, 1 << 20) == DATA[:1 << 20]
    starts = [int(line.split("=")[1].split("-")[0]) for line in bad.server.seen()]
    assert starts[0] == 0 and starts == sorted(set(starts)) and starts[1] >= 1 << 18


def test_a_resumed_read_is_never_a_mix(bad):
    bad.server.plan("truncate", "changed", "ok*")
    assert "replaced" in refused("ESTALE", bad, "fetch", "f", 0, 1 << 20)


@pytest.mark.parametrize("fault,name", [("wrongrange*", "EBADMSG"), ("norangeheader*", "EBADMSG"), ("short*", "EBADMSG"),
                                        ("long*", "EBADMSG"), ("shrunk*", "EBADMSG"), ("403*", "EACCES"), ("401*", "EACCES"),
                                        ("404*", "ENOENT"), ("400*", "EIO")])
def test_lies_and_refusals_end_at_once(bad, fault, name):
    bad.server.plan(fault)
    refused(name, bad, "fetch", "f", 1 << 20, 1 << 20)
    assert len(bad.server.seen()) == 1


def test_a_server_without_ranges(bad):
    bad.server.plan("norange*")
    assert bad("fetch", "f", 1 << 20, 1000) == DATA[1 << 20:][:1000]
    assert bad("fetch", "f", (3 << 20) - 10, 10) == DATA[-10:]
    refused("EBADMSG", bad, "fetch", "f", (3 << 20) - 10, 11)


def test_retry_after_is_honoured(bad):
    bad.server.plan("503+1")
    start = time.monotonic()
    assert bad("get", "f") == DATA
    assert 1.0 <= time.monotonic() - start < 3
    bad.server.plan("503+3600*")
    start = time.monotonic()
    refused("ETIMEDOUT", bad, "get", "f")
    assert time.monotonic() - start < 3


def test_the_deadline_holds(bad):
    tool = Tool(bad.url, "-d", "1500", "-c", "60000")
    bad.server.plan("silent*")
    start = time.monotonic()
    refused("ETIMEDOUT", tool, "fetch", "f", 0, 10)
    assert 1.4 <= time.monotonic() - start < 3


def test_a_store_that_is_down_fails_at_once_and_comes_back(bad):
    tool = Tool(bad.url, "-n", "1")
    bad.server.plan("503", "503", "503", "ok*")
    assert tool("twice", "f") == DATA
    lines = tool.stderr.splitlines()
    assert lines[0] == "first EIO healthy 0"
    assert int(lines[1].split()[2]) < 100
    assert lines[2] == "healthy 1"
    assert [line.split()[0] for line in bad.server.seen()] == ["GET", "GET", "HEAD", "HEAD", "GET"]


def test_redirects(bad, nginx_tls, tmp_path):
    target = bad.server.url + "/f"
    bad.server.plan(f"redirect:{target}")
    assert bad("fetch", "f", 5, 10) == DATA[5:15]
    bad.server.plan(f"redirect:{target}*")
    assert "circles" in refused("EIO", bad, "get", "f")
    bad.server.plan("redirect:file:///etc/passwd")
    refused("EIO", bad, "get", "f")


def test_garbage_of_the_right_length_is_for_the_hash_to_find(bad):
    bad.server.plan("garbage")
    assert bad("fetch", "f", 0, 100) == bytes(b ^ 0xff for b in DATA[:100])


# -- a server that is hostile: each call ends soon, with an error that says why, in bounded memory -------------------------

def hostile(tool, name, *args, seconds=8.0):
    """Like refused(); and neither long nor large."""
    start = time.monotonic()
    tool.memory = 256 << 20  # stacks and libraries take most of it
    message = refused(name, tool, *args)
    assert time.monotonic() - start < seconds, message
    return message


@pytest.mark.parametrize("fault,name,says", [
    ("endless*", "EFBIG", "more than"), ("endless-error*", "EIO", "status 500"), ("endless-403*", "EACCES", "refuses access"),
    ("drip*", "ETIMEDOUT", "bytes a second"), ("headers*", "EBADMSG EIO", ""), ("bigheader*", "EBADMSG EIO", ""), ("continue*", "EBADMSG EIO", "")])
def test_an_answer_without_end_is_cut_off(bad, fault, name, says):
    """Of headers, libcurl's own bound may be met first: EIO then."""
    tool = Tool(bad.url, "-d", "2000", "-c", "1000", "-n", "2")
    bad.server.plan(fault)
    message = hostile(tool, name, "get", "f")
    assert says in message, message


@pytest.mark.parametrize("fault", ["endless-error*", "drip*", "headers*", "bigheader*", "continue*", "trickle-once*"])
def test_a_range_from_a_hostile_server_ends_at_its_deadline(bad, fault):
    tool = Tool(bad.url, "-d", "2000", "-c", "1000", "-n", "2")
    bad.server.plan(fault)
    hostile(tool, "EIO ETIMEDOUT EBADMSG", "fetch", "f", 1000, 1 << 20)


def test_attempts_that_bring_a_byte_each_are_no_progress(bad):
    tool = Tool(bad.url, "-d", "2000", "-c", "1000")
    bad.server.plan("trickle-once*")
    start = time.monotonic()
    refused("ETIMEDOUT", tool, "get", "f")
    assert time.monotonic() - start < 6


def test_the_body_of_a_redirect_may_not_go_on_for_ever(bad):
    tool = Tool(bad.url, "-d", "2000", "-c", "1000", "-n", "1")
    bad.server.plan(f"endless-redirect:{bad.server.url}/f*")
    hostile(tool, "ETIMEDOUT", "get", "f")


def test_bytes_that_a_server_compresses_unasked_are_named(bad, tmp_path):
    write(tmp_path / "www", ".mesh/HEAD", b"{}" * 100)
    bad.server.plan("gzip*")
    message = refused("EBADMSG", bad, "get", ".mesh/HEAD")
    assert "gzip" in message and "turn that off" in message
    assert gzip.decompress(bad("get", "f")) == DATA  # stored so, for all that is known


@pytest.mark.parametrize("fault", ["list-circle*", "list-two*", "list-empty*"])
def test_a_list_that_does_not_end_is_refused(faulty, fault):
    tool = Tool("s3://bucket/t", "-e", faulty.url, env={"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET})
    faulty.plan(fault)
    assert "does not end" in hostile(tool, "EBADMSG", "list", "")
    assert len(faulty.seen()) < 200


def test_signed_requests_are_not_led_to_another_host(faulty, tmp_path):
    with Faulty(tmp_path / "elsewhere", tmp_path / "www") as other:
        write(tmp_path / "www", "bucket/f", b"x" * 100)
        tool = Tool("s3://bucket", "-e", faulty.url, env={"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET})
        for status in ("redirect:", "301:", "307:", "308:"):
            faulty.plan(f"{status}{other.url}/bucket/f*")
            refused("EIO", tool, "get", "f")
            refused("EIO", tool, "put", "f", "text")
        assert other.seen() == []
