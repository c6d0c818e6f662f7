"""Contracts as the Open Data Contract Standard has them: the official examples, and changes of them judged as the official schema judges."""
import copy
import json
import pathlib
import random

import pytest
import yaml

TOP = pathlib.Path(__file__).resolve().parents[2]
OFFICIAL = TOP.parent / "shared" / "conformance" / "odcs"
EXAMPLES = sorted(OFFICIAL.glob("examples/*.odcs.yaml"))

if not EXAMPLES:
    pytest.skip(f"the official contracts are not here ({OFFICIAL})", allow_module_level=True)


@pytest.fixture
def shop(mesh):
    mesh.domain("shop")
    (mesh.folder / "notes.bin").write_bytes(b"no table\n")
    return mesh


def judge(shop, path):
    """Does the contract parse?  Publishing with it ends with 2 when it does not; checks that data of this kind fails end with 3."""
    done = shop.run("publish", "shop/notes/1.0.0", shop.folder / "notes.bin", "--dry-run", "--contract", path, check=False)
    assert done.returncode in (0, 2, 3), done.stderr
    if done.returncode == 2:
        assert done.stderr.startswith(f"meshfs: {path}:") and done.stderr.count("\n") == 1, done.stderr
    return done.returncode != 2, done.stderr


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda p: p.name.split(".")[0])
def test_official_examples_are_read_unchanged(shop, example):
    """Nothing is lost or rewritten: what is served as contract.yaml is what was given."""
    ok, said = judge(shop, example)
    assert ok, said
    shop.run("publish", "shop/notes/1.0.0", shop.folder / "notes.bin", "--contract", example, "--with-failures", "no such tables here")
    assert shop.json("show", "shop/notes/1.0.0")[0]["contract"] is not None
    with shop.mount() as m:
        assert (m.path / "shop/notes/1.0.0/.mesh/contract.yaml").read_bytes() == example.read_bytes()


class Yaml12(yaml.SafeLoader):
    """Without YAML 1.1's timestamps: an unquoted date is a text."""


Yaml12.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

OTHERS = [None, 7, 1.5, -1, True, "bogus", "", [], ["a"], [1], [1, 5], [5, 1], [3, 3], {}, {"a": 1}, [{}]]
EVERYTHING = {
    "apiVersion": "v3.1.0", "kind": "DataContract", "id": "all", "version": "1.0.0", "status": "active",
    "schema": [{"name": "t", "properties": [
        {"name": "a", "logicalType": "integer", "logicalTypeOptions": {"minimum": 1, "exclusiveMaximum": 9, "multipleOf": 1, "format": "u8"}, "quality": [
            {"metric": "nullValues", "mustBeLessThan": 5, "unit": "percent", "severity": "warning", "dimension": "completeness"},
            {"metric": "invalidValues", "arguments": {"validValues": ["1", "2"]}, "mustBeBetween": [0, 3]},
            {"metric": "missingValues", "arguments": {"missingValues": ["NA"]}, "mustBeLessOrEqualTo": 2},
            {"metric": "duplicateValues", "mustBeGreaterOrEqualTo": 0}]},
        {"name": "d", "logicalType": "date", "logicalTypeOptions": {"minimum": "2020-01-01", "format": "yyyy-MM-dd"}},
        {"name": "s", "logicalType": "string", "logicalTypeOptions": {"minLength": 1, "maxLength": 3, "pattern": "x+", "format": "email"}},
        {"name": "o", "logicalType": "object", "logicalTypeOptions": {"required": ["x"], "minProperties": 1, "maxProperties": 3},
         "properties": [{"name": "x", "logicalType": "number", "logicalTypeOptions": {"format": "f32"}}]},
        {"name": "l", "logicalType": "array", "logicalTypeOptions": {"minItems": 1, "maxItems": 3, "uniqueItems": True},
         "items": {"logicalType": "string"}}],
        "quality": [{"type": "sql", "query": "SELECT 1", "mustBeGreaterThan": 0}, {"type": "text", "description": "good"},
                    {"metric": "rowCount", "mustNotBe": 0}, {"metric": "rowCount", "mustNotBeBetween": [1, 2]},
                    {"type": "custom", "engine": "soda", "implementation": "x"}]}],
    "slaProperties": [{"property": "latency", "value": 4, "unit": "d", "element": "t.d"}],
}


def places(node, path=()):
    yield path
    steps = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else ()
    for key, child in steps:
        yield from places(child, path + (key,))


def changed(document, path, value):
    document = copy.deepcopy(document)
    parent = document
    for key in path[:-1]:
        parent = parent[key]
    if value == "gone":
        del parent[path[-1]]
    else:
        parent[path[-1]] = value
    return document


def excused(document, path, value):
    """Where this is meant to be another answer than the official schema's."""
    last = path[-1] if isinstance(path[-1], str) else path[-2]
    # Stricter: what the schema lets pass and nothing could check, or would check wrongly.
    if last in ("mustBe", "mustNotBe", "arguments", "validValues", "dateIn", "dateOut", "contractCreatedTs"):
        return True
    if "logicalTypeOptions" in path and last.lower().endswith(("minimum", "maximum")) and isinstance(value, str):
        return value != "gone"
    if last in ("from", "to") or (last in ("name", "physicalName", "pattern") and value == ""):
        return True
    if ("quality" in path and last in ("type", "metric")) or last.endswith("Between") and value in ([5, 1], 7, -1, 1.5):
        return True
    # More lenient: fields that the schema does not know are kept.
    return isinstance(value, dict) and "a" in value


@pytest.mark.parametrize("seed", range(2))
def test_changes_are_judged_as_the_official_schema_judges(shop, seed):
    import jsonschema
    validator = jsonschema.Draft201909Validator(json.loads((OFFICIAL / "odcs-json-schema-v3.1.0.json").read_text()))
    documents = [yaml.load(e.read_text(), Yaml12) for e in EXAMPLES] + [EVERYTHING] * 3
    for document in documents:
        assert validator.is_valid(document)
    cases = [(d, p, v) for d in documents for p in places(d) if p for v in [*OTHERS, "gone"]]
    path = shop.folder / "changed.yaml"
    refused = 0
    for document, where, value in random.Random(seed).sample(cases, 120):
        if excused(document, where, value):
            continue
        case = changed(document, where, value)
        path.write_text(json.dumps(case, indent=1))
        ok, said = judge(shop, path)
        wanted = [e.message[:200] for e in validator.iter_errors(case)]
        assert ok == (not wanted), (where, value, said, wanted)
        refused += not ok
    assert refused > 40
