"""OpenLineage events on their way out: a collector that fails, a file, a writer that dies; what is in the events of a run with contracts and rules."""
import json
import os
import sqlite3
import stat
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from test_lineage import database, event_validator
from test_lineage_questions import shop, shop_as_built  # noqa: F401 (fixtures)


class Collector:
    """Takes events; `plan` says how the next requests end: a status, or "cut" (taken, but the answer is lost)."""

    def __init__(self):
        self.events, self.bodies, self.headers, self.plan, self.always = [], [], [], [], None
        collector = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                how = collector.plan.pop(0) if collector.plan else collector.always or 201
                if how in (201, "cut"):
                    collector.bodies.append(body)
                    collector.events.append(json.loads(body))
                    collector.headers.append((self.path, dict(self.headers)))
                if how == "cut":
                    self.close_connection = True
                    self.connection.close()
                    return
                self.send_response(how)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, daemon=True)
        self.thread.start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def collector():
    c = Collector()
    yield c
    c.close()


def keys(events):
    return [(e["job"]["name"], e["eventType"]) for e in events]


STEPS = ["join", "featurise", "train", "evaluate", "report"]
ALL = {(s, t) for s in STEPS for t in ("START", "COMPLETE")}


def export(mesh, *args, **options):
    return mesh.run("lineage", "export", "--format", "openlineage", *args, **options)


def test_a_collector_gets_each_event_once(shop, collector):  # noqa: F811
    check = event_validator()
    assert "10 events sent" in export(shop, "--to", collector.url, env={"OPENLINEAGE_API_KEY": "s3cret"}).stdout
    assert set(keys(collector.events)) == ALL and len(collector.events) == 10
    path, headers = collector.headers[0]
    assert path == "/api/v1/lineage" and headers["Content-Type"] == "application/json" and headers["Authorization"] == "Bearer s3cret"
    for event in collector.events:
        check(event)
    assert "0 events sent" in export(shop, "--to", collector.url + "/").stdout  # the same collector
    shop.run("run", "--name", "again", "--", "sh", "-c", "exit 3", status=3)
    assert "2 events sent" in export(shop, "--to", collector.url).stdout
    assert keys(collector.events)[10:] == [("again", "START"), ("again", "FAIL")]


def test_a_collector_that_fails_loses_nothing(shop, collector):  # noqa: F811
    collector.plan = [201, 201, 503, 503, 201, 429, 201]  # mended by trying again
    assert "10 events sent" in export(shop, "--to", collector.url).stdout
    assert set(keys(collector.events)) == ALL and len(collector.events) == 10
    shop.run("run", "--name", "more", "--", "true")
    collector.always = 400
    done = export(shop, "--to", collector.url, status=1)
    assert "2 events wait" in done.stderr and done.stderr.count("\n") == 1 and len(collector.events) == 10
    shop.run("lineage", "prune", "--before", "2100-01-01")  # what waits is kept as it was made
    collector.always = None
    assert "2 events sent" in export(shop, "--to", collector.url).stdout
    assert keys(collector.events)[10:] == [("more", "START"), ("more", "COMPLETE")]


def test_a_lost_answer_brings_the_same_event_again(shop, collector):  # noqa: F811
    collector.plan = ["cut"]
    assert "10 events sent" in export(shop, "--to", collector.url).stdout
    assert len(set(collector.bodies)) == 10 and set(keys(collector.events)) == ALL
    assert collector.bodies.count(collector.bodies[0]) == len(collector.bodies) - 9  # byte for byte: the collector can tell


def test_nobody_listens(shop, collector):  # noqa: F811
    url = collector.url
    collector.server.server_close()
    done = export(shop, "--to", url, status=1)
    assert "10 events wait" in done.stderr


def test_a_file_gets_each_event_once_though_the_writer_dies(shop, tmp_path):  # noqa: F811
    out = tmp_path / "out" / "events.jsonl"
    out.parent.mkdir()
    export(shop, "--to", out)
    whole = out.read_bytes()
    lines = whole.splitlines(keepends=True)
    assert set(keys(map(json.loads, lines))) == ALL and len(lines) == 10
    assert "0 events sent" in export(shop, "--to", os.path.relpath(out, tmp_path), cwd=tmp_path).stdout
    # What a death between writing and taking note leaves: a line that still waits, whole or in part.
    shop.run("run", "--name", "more", "--", "true")
    full = tmp_path / "out" / "full.jsonl"
    export(shop, "--to", full)
    for part in (40, None):
        with sqlite3.connect(database(shop)) as db:
            line = full.read_bytes().splitlines(keepends=True)[-1]
            db.execute("INSERT INTO spool(target, body) VALUES (?, ?)", (os.path.realpath(full), line))
        before = full.read_bytes()
        if part:
            full.write_bytes(before[:-len(line)] + line[:part])
        assert "1 events sent" in export(shop, "--to", full).stdout
        assert full.read_bytes() == before
    out.write_bytes(whole + b"something else")
    assert "does not end with a whole line" in export(shop, "--to", out, status=1).stderr


def test_wrong_targets(shop, tmp_path):  # noqa: F811
    assert "no such folder" in export(shop, "--to", tmp_path / "none" / "x", check=False).stderr
    export(shop, "--to", tmp_path / "x", "--run", "join", status=2)
    shop.run("lineage", "export", "--format", "dot", "--to", tmp_path / "x", status=2)


def test_what_is_no_file_stays_what_it_is(shop, tmp_path):  # noqa: F811
    """A device, a pipe and a link are written into, not replaced."""
    link, real = tmp_path / "link", tmp_path / "real.dot"
    link.symlink_to(real)
    for target in (link, "/dev/stdout"):
        done = shop.run("lineage", "export", "--format", "dot", "-o", target)
        assert link.is_symlink() and (done.stdout if target != link else real.read_text()).startswith("digraph")
    before = os.stat("/dev/full")
    assert "No space left" in shop.run("lineage", "export", "--format", "dot", "-o", "/dev/full", status=1).stderr
    assert os.stat("/dev/full") == before and stat.S_ISCHR(before.st_mode)


def test_facets_of_a_run_with_contracts_and_rules(shop, tmp_path):  # noqa: F811
    check = event_validator()
    events = [json.loads(line) for line in export(shop).stdout.splitlines()]
    for event in events:
        check(event)
    ends = {e["job"]["name"]: e for e in events if e["eventType"] == "COMPLETE"}
    people = next(d for d in ends["join"]["inputs"] if d["name"].startswith("crm/"))
    assert {(f["name"], f.get("type")) for f in people["facets"]["schema"]["fields"]} == {
        ("customer_id", "integer"), ("email", "string"), ("zip", "string"), ("consent", "boolean")}
    assert {o["name"] for o in people["facets"]["ownership"]["owners"]} >= {"carl"}
    columns = people["facets"]["columnLineage"]
    assert columns["fields"]["email"]["inputFields"][0]["transformations"][0]["masking"] is True
    assert columns["fields"]["zip"]["inputFields"][0]["transformations"][0]["masking"] is False
    assert [(f["field"], f["transformations"][0]["subtype"]) for f in columns["dataset"]] == [("consent", "FILTER")]
    consent = people["inputFacets"]["subset"]["inputCondition"]
    assert consent["comparison"] == "EQUAL" and {consent[s].get("field") or consent[s]["value"] for s in ("left", "right")} == {"consent", "true"}
    report = ends["report"]["inputs"][0]
    condition = report["inputFacets"]["subset"]["inputCondition"]
    assert condition["operator"] == "OR" and {condition["left"]["right"]["value"], condition["right"]["right"]["value"]} == {"DE", "FR"}
    assert report["inputFacets"]["inputStatistics"]["fileCount"] == 1
    assert {"ColumnLineageDatasetFacet.json", "BaseSubsetDatasetFacet.json", "OwnershipDatasetFacet.json", "SchemaDatasetFacet.json"} <= check.seen


def model():
    """Makes the official client's objects of an event; what comes back is what it would send."""
    serde = pytest.importorskip("openlineage.client.serde")
    import enum
    import types
    import typing

    import attr
    from openlineage.client import event_v2, facet_v2

    facets = {}
    for module in vars(facet_v2).values():
        for cls in vars(module).values() if isinstance(module, types.ModuleType) else ():
            if isinstance(cls, type) and attr.has(cls) and hasattr(cls, "_get_schema"):
                facets[cls._get_schema()] = cls

    def value_of(hint, value):
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin in (typing.Union, types.UnionType):
            args = [a for a in args if a is not type(None)]
            return value_of(args[0], value) if len(args) == 1 else value
        if origin is list:
            return [value_of(args[0], v) for v in value]
        if origin is dict:
            return {k: value_of(args[1], v) for k, v in value.items()}
        if isinstance(hint, type) and issubclass(hint, enum.Enum):
            return hint(value)
        return build(hint, value) if isinstance(hint, type) and attr.has(hint) and isinstance(value, dict) else value

    def build(cls, value):
        if "_schemaURL" in value:
            cls = facets[value["_schemaURL"]]  # an unknown facet or version is a failure
            built.add(cls.__name__)
        hints = typing.get_type_hints(cls)
        return cls(**{k.lstrip("_"): value_of(hints[k], v) for k, v in value.items() if k not in ("_schemaURL", "schemaURL")})

    built = set()
    return lambda event: json.loads(serde.Serde.to_json(build(event_v2.RunEvent, event))), built


def without_empties(value):
    if isinstance(value, dict):
        return {k: w for k, w in ((k, without_empties(v)) for k, v in value.items()) if w not in (None, {}, [])}
    return [without_empties(v) for v in value] if isinstance(value, list) else value


def test_events_survive_the_official_client(shop):  # noqa: F811
    through, built = model()
    for line in export(shop).stdout.splitlines():
        event = json.loads(line)
        assert without_empties(through(event)) == without_empties(event)
    assert {"ColumnLineageDatasetFacet", "InputSubsetInputDatasetFacet", "OwnershipDatasetFacet", "SchemaDatasetFacet", "DatasetVersionDatasetFacet",
            "DatasourceDatasetFacet", "InputStatisticsInputDatasetFacet", "OutputStatisticsOutputDatasetFacet", "ProcessingEngineRunFacet"} <= built


def test_events_of_runs_within_runs_and_of_runs_that_failed(mesh, fuse):
    """The parent facet, and how each run ended: FAIL with an exit status, ABORT when nobody was left to tell it."""
    mesh.domain("sales")
    mesh.publish("sales/orders/1.0.0", {"a.csv": "id\n1\n"})
    program = " ".join(mesh.command())
    mesh.run("run", "--name", "outer", "--", "sh", "-c", f"{program} run --name inner -- cat sales; exit 0")
    mesh.run("run", "--name", "killed", "--", "sh", "-c", "kill -9 $$", status=137)
    check = event_validator()
    events = [json.loads(line) for line in export(mesh).stdout.splitlines()]
    for event in events:
        check(event)
    last = {e["job"]["name"]: e for e in events if e["eventType"] != "START"}
    assert {name: e["eventType"] for name, e in last.items()} == {"outer": "COMPLETE", "inner": "FAIL", "killed": "FAIL"}
    parent = last["inner"]["run"]["facets"]["parent"]
    assert parent["run"]["runId"] == last["outer"]["run"]["runId"] and parent["job"] == {**parent["job"], "name": "outer"}
    assert "parent" not in last["outer"]["run"]["facets"] and "ParentRunFacet.json" in check.seen
    with sqlite3.connect(database(mesh)) as db:
        db.execute("UPDATE runs SET exit_status = NULL WHERE name = 'killed'")
    events = [json.loads(line) for line in export(mesh, "--run", "killed").stdout.splitlines()]
    assert [e["eventType"] for e in events] == ["START", "ABORT"]
