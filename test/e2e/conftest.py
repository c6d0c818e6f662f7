"""Fixtures of the end-to-end tests: servers (servers.py) and the program (meshkit.py)."""
import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from meshkit import Mesh, need_fuse  # noqa: E402
from servers import Faulty, Moto, Nginx, RcloneS3, VersityGw  # noqa: E402


@pytest.fixture
def mesh(tmp_path):
    """A fresh mesh; everything it mounted is unmounted afterwards."""
    m = Mesh(tmp_path / "mesh")
    yield m
    m.close()


@pytest.fixture
def meshes(tmp_path):
    """Makes several: meshes() -> Mesh.  For tests of two hosts or two users."""
    made = []

    def make(init=True):
        made.append(Mesh(tmp_path / f"mesh{len(made)}", init=init))
        return made[-1]

    yield make
    for m in made:
        m.close()


@pytest.fixture
def fuse():
    need_fuse()


@pytest.fixture
def unprivileged():
    """Lets other users open /dev/fuse for a test, and gives a (uid, gid) to be.  Root only."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    need_fuse()
    mode = os.stat("/dev/fuse").st_mode & 0o7777
    os.chmod("/dev/fuse", 0o666)
    yield 65534, 65534
    os.chmod("/dev/fuse", mode)


def _session_server(kind):
    @pytest.fixture(scope="session", name=kind.__name__.lower())
    def fixture(tmp_path_factory):
        with kind(tmp_path_factory.mktemp(kind.__name__.lower())) as server:
            yield server
    return fixture


moto, rclones3, versitygw = _session_server(Moto), _session_server(RcloneS3), _session_server(VersityGw)


@pytest.fixture(params=["moto", "rclones3", "versitygw"])
def s3(request):
    """Each S3 server in turn."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def nginx(tmp_path):
    """nginx over tmp_path/www."""
    with Nginx(tmp_path / "nginx", tmp_path / "www") as server:
        yield server


@pytest.fixture
def nginx_tls(tmp_path):
    """The same with a self-signed certificate (server.ca)."""
    with Nginx(tmp_path / "nginx-tls", tmp_path / "www", tls=True) as server:
        yield server


@pytest.fixture
def faulty(tmp_path):
    """A misbehaving server over tmp_path/www: faulty.plan("500", "reset", …)."""
    (tmp_path / "www").mkdir(exist_ok=True)
    with Faulty(tmp_path / "faulty", tmp_path / "www") as server:
        yield server
