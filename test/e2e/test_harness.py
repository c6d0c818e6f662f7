"""The harness itself: servers come up, answer, and misbehave as they are told; the program runs."""
import http.client
import urllib.error
import urllib.request

import pytest

from meshkit import Mesh
from servers import ACCESS, BUCKET


def test_s3_servers_serve_ranges(s3):
    client = s3.client()
    client.put_object(Bucket=BUCKET, Key="harness/a", Body=b"0123456789")
    assert client.get_object(Bucket=BUCKET, Key="harness/a", Range="bytes=2-4")["Body"].read() == b"234"
    assert s3.env["AWS_ACCESS_KEY_ID"] == ACCESS


def test_nginx_serves_its_folder(nginx, tmp_path):
    (tmp_path / "www/x").write_bytes(b"hello")
    assert urllib.request.urlopen(nginx.url + "/x").read() == b"hello"
    assert nginx.requests() == 1


def test_faulty_follows_its_plan(faulty, tmp_path):
    (tmp_path / "www/x").write_bytes(b"0123456789")
    faulty.plan("500", "truncate", "ok")
    with pytest.raises(urllib.error.HTTPError):
        urllib.request.urlopen(faulty.url + "/x")
    with pytest.raises(http.client.IncompleteRead):
        urllib.request.urlopen(faulty.url + "/x").read()
    assert urllib.request.urlopen(faulty.url + "/x").read() == b"0123456789"
    assert faulty.seen() == ["GET /x -"] * 3


def test_the_program_runs(tmp_path):
    m = Mesh(tmp_path, init=False)
    assert m.run("--version", mesh=False).stdout.startswith("meshfs ")
    assert "no such command" in m.run("frobnicate", mesh=False, status=2).stderr
