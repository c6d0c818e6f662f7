"""The `policy` commands, end to end: check, explain, test, diff, apply, publish, key new."""
import json
import os
import re
import shutil
import stat

import pytest

from meshkit import TOP, write_tree
from servers import wait_for

CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: people
version: 1.0.0
status: active
schema:
- name: people
  physicalName: people.csv
  properties:
  - { name: id, logicalType: integer, classification: public }
  - { name: email, logicalType: string, classification: confidential, tags: [pii] }
  - { name: age, logicalType: integer, classification: public }
"""
PEOPLE = "id,email,age\n1,ana@example.org,17\n2,bo@example.org,30\n3,cy@example.org,50\n"
# A purpose that no rule speaks of: without one, every rule about purposes would apply.
WHO = "user=ana,group=ds,purpose=study"
MESH = """policy rules scope mesh version 1

drop no-pii
  columns tagged pii
  when    purpose == training
  reason  "minimise"

deny no-ads
  when    purpose == marketing
  reason  "not for ads"

hide secret
  files   hr/secret/**
  unless  group == owners
"""


def rules(mesh, text, name="mesh"):
    """Replaces a policy file in one step, as an editor does."""
    path = mesh.folder / "policy" / f"{name}.policy"
    path.with_suffix(".new").write_text(text)
    os.replace(path.with_suffix(".new"), path)


@pytest.fixture
def hr(mesh, tmp_path):
    mesh.domain("hr")
    contract = tmp_path / "contract.yaml"
    contract.write_text(CONTRACT)
    mesh.publish("hr/people/1.0.0", {"people.csv": PEOPLE}, "--contract", contract)
    mesh.publish("hr/secret/1.0.0", {"people.csv": PEOPLE}, "--contract", contract)
    rules(mesh, MESH)
    return mesh


def explain(mesh, address, who):
    (answer,) = mesh.json("policy explain", address, "--as", who)
    assert {"address", "outcome", "rules", "rows", "columns"} <= set(answer)
    return answer


# -- check -------------------------------------------------------------------------------------

def test_check_says_how_many_rules_load(hr):
    assert re.fullmatch(r"4 rules load, 0 warnings; policy [0-9a-f]{64}\n", hr.run("policy", "check").stdout)
    (answer,) = hr.json("policy check")
    assert answer["rules"] == 4 and answer["warnings"] == 0 and re.fullmatch("[0-9a-f]{64}", answer["policy"])


def test_check_tells_the_position(hr):
    rules(hr, "policy bad scope mesh version 1\n\nmask m\n  columns tagged pii\n  with    hmca key k\n", "bad")
    done = hr.run("policy", "check", status=2)
    assert re.search(r"/policy/bad\.policy:5:11: 'hmca' is no mask; did you mean 'hmac'\?\n$", done.stderr)
    assert done.stderr.count("\n") == 1 and not done.stdout


def test_check_warns_of_what_a_contract_lacks_and_of_expired_exempts(hr):
    rules(hr, "policy more scope mesh version 1\n\nfilter adults\n  rows row.years >= 18\n\n"
              "exempt old from no-ads until 2020-01-31\n  when group == audit\n", "more")
    done = hr.run("policy", "check")
    assert "more.policy:3" in done.stderr and "years" in done.stderr
    assert "more.policy:6" in done.stderr and "2020-01-31" in done.stderr
    warnings = [x["warning"] for x in hr.json("policy check") if "warning" in x]
    assert len(warnings) == len(done.stderr.splitlines())


@pytest.mark.parametrize("text, said", [
    ("deny d\n  files hr/**, hrr/**\n", "deny 'd' has files 'hrr/**', and the mesh has no domain 'hrr'; did you mean 'hr'?"),
    ("drop d\n  columns named emial, email\n", "drop 'd' names the column emial, which no contract that it concerns has"),
    ("mask m\n  columns named age\n  with year\n",
     "mask 'm' gives null for column people.age of hr/people: 'year' is for dates, and the column's logicalType is integer"),
    ("mask m\n  files hr/people/**\n  columns tagged pii\n  with round 5\n",
     "mask 'm' gives null for column people.email of hr/people: 'round' is for numbers, and the column's logicalType is string"),
])
def test_check_warns_of_rules_that_do_not_do_what_they_seem_to(hr, text, said):
    rules(hr, "policy k scope mesh version 1\n\n" + text, "k")
    hr.publish("hr/people/1.1.0", {"people.csv": PEOPLE + "4,di@example.org,9\n"})
    warnings = hr.run("policy", "check").stderr.splitlines()
    assert said in warnings[0] and "k.policy:3: " in warnings[0]
    assert len(warnings) == (2 if "named age" in text else 1)  # once a product, not once a version


@pytest.mark.parametrize("glob,said", [("hr/people/1.0.0/", "a part of it is empty"), ("hr//people/**", "a part of it is empty"),
                                       ("hr/people", "did you mean 'hr/people/**'"), ("/hr/people/**/", "a part of it is empty")])
def test_a_glob_that_can_match_no_file_is_an_error(hr, glob, said):
    rules(hr, f"policy k scope mesh version 1\n\ndeny d\n  files {glob}\n", "k")
    assert said in hr.run("policy", "check", status=2).stderr


@pytest.mark.parametrize("glob,warned", [("hr/people/latest/**", True), ("hr/people/1/*", True), ("hr/*/1.0/a.csv", True), ("hr/people/1.0.0/**", False),
                                         ("hr/people/1.*/**", False), ("hr/**/latest/x", False), ("**/latest/**", False), ("hr/people/?.0.0/**", False)])
def test_check_warns_of_a_version_that_can_not_be(hr, glob, warned):
    rules(hr, f"policy k scope mesh version 1\n\ndeny d\n  files {glob}\n", "k")
    assert ("no version is called" in hr.run("policy", "check").stderr) == warned


def test_the_exempt_that_made_it_so_is_named(hr):
    """A decision carries the ids of all rules that made it, so that the record of an exempted read says by whose leave."""
    rules(hr, "policy more scope mesh version 1\n\ndeny all\n\nfilter adults\n  rows row.age >= 18\n\nexempt audit from all until 2090-01-01\n  when group == audit\n\n"
              "exempt idle from no-ads until 2090-01-01\n", "more")
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=research")["outcome"] == "deny"
    allowed = explain(hr, "hr/people", "user=ana,group=audit,purpose=research")
    assert allowed["outcome"] == "view" and "more/audit" in allowed["rules"] and "more/adults" in allowed["rules"]
    assert "more/idle" not in allowed["rules"]  # it lifted nothing
    assert "exempts from all until 2090-01-01" in hr.run("policy", "explain", "hr/people", "--as", "user=ana,group=audit,purpose=research").stdout


def test_check_does_not_warn_of_rules_that_may_do_it(hr):
    rules(hr, "policy k scope mesh version 1\n\n"
              "deny d\n  files *r/**, **/raw/**\n  when purpose == none\n\n"
              "drop other\n  files hr/unborn/**\n  columns named anything\n\n"  # no contract in sight that it concerns
              "mask a\n  columns named age\n  with round 10\n\n"
              "mask e\n  columns named email\n  with zip3\n", "k")
    assert hr.run("policy", "check").stderr == ""


@pytest.mark.parametrize("text, said", [
    ("filter f\n  rows age >= 18\n", "4:8: there is no attribute 'age'; a column is written row.age"),
    ("deny d\n  when file.size > \"a\"\n", "4:20: 'file.size' is a number, and is compared with text"),
    ("deny d\n  when purpos == training\n", "4:8: there is no attribute 'purpos'; did you mean 'purpose'?"),
    ("deny d\n  when purpose = training\n", "4:16: '=' is not a comparison; write '=='"),
    ("mask m\n  columns taged pii\n  with year\n", "4:11: 'taged' is no way to choose columns; did you mean 'tagged'?"),
    ("mask m\n  columns tagged pii\n  with rond 5\n", "5:8: 'rond' is no mask; did you mean 'round'?"),
    ("permit p\n  when purpose == training\n", "3:1: 'permit' stands only in files of a domain"),
])
def test_mistakes_that_people_make_are_named(hr, text, said):
    rules(hr, "policy k scope mesh version 1\n\n" + text, "k")
    assert "k.policy:" + said in hr.run("policy", "check", status=2).stderr


def test_a_key_must_exist(hr):
    rules(hr, "policy k scope mesh version 1\n\nmask m\n  columns tagged pii\n  with hmac key study\n", "k")
    assert "k.policy:5:8: mesh.yaml names no key 'study'" in hr.run("policy", "check", status=2).stderr
    path = hr.run("policy", "key", "new", "study").stdout.strip()
    assert hr.run("policy", "check").stdout.startswith("5 rules load, 0 warnings")
    assert explain(hr, "hr/people", WHO)["columns"] == {"email": "hmac key study"}
    os.unlink(path)
    assert "k.policy:5:8:" in hr.run("policy", "check", status=2).stderr


# -- explain -----------------------------------------------------------------------------------

def test_explain_has_each_outcome(hr):
    a = explain(hr, "hr/people", "user=ana,group=ds,purpose=research")
    assert a["address"] == "hr/people/1.0.0" and a["outcome"] == "allow" and a["rules"] == ["hr/everyone"]
    assert a["rows"] is None and a["columns"] == {}
    a = explain(hr, "hr/people/1/people.csv", "user=ana,group=ds,purpose=training")
    assert a["address"] == "hr/people/1.0.0/people.csv" and a["outcome"] == "view"
    assert a["columns"] == {"email": "drop"} and set(a["rules"]) == {"rules/no-pii", "hr/everyone"}
    assert {(r["rule"], r["line"]) for r in a["made_by"] if r["rule"] == "rules/no-pii"} == {("rules/no-pii", 3)}
    a = explain(hr, "hr/people/latest", "user=ana,group=ds,purpose=marketing")
    assert a["outcome"] == "deny" and a["rules"] == ["rules/no-ads"] and "not for ads" in a["reason"]
    a = explain(hr, "hr/secret", WHO)
    assert a["outcome"] == "hide" and a["rules"] == ["rules/secret"]
    assert explain(hr, "hr/secret", WHO + ",group=owners")["outcome"] == "allow"


def test_explain_says_the_rows(hr):
    rules(hr, 'policy adults scope mesh version 1\n\nfilter adults\n  rows row.age >= 18 and row.email != user\n', "adults")
    a = explain(hr, "hr/people", WHO)
    assert a["outcome"] == "view" and a["rules"] == ["adults/adults", "hr/everyone"]
    assert a["rows"] == 'row.email != "ana" and row.age >= 18'


def test_explain_in_words_names_file_and_line(hr):
    out = hr.run("policy", "explain", "hr/people", "--as", "user=ana,group=ds,purpose=marketing").stdout
    assert out.startswith("hr/people/1.0.0: deny") and "not for ads" in out
    assert re.search(r"rules/no-ads .*\n +\S*/policy/mesh\.policy:8\n", out)


def test_explain_names_the_permit_that_came_nearest(hr):
    rules(hr, "policy hr scope domain hr version 2\n\n"
              "permit study\n  files   hr/people/**\n  when    purpose in {study, research}\n  when    group == ds\n\n"
              "permit files\n  files   hr/other/**\n\n"
              "permit audit\n  files   hr/people/**\n  when    user == eve\n  unless  host == h9\n  when    run is not null\n", "hr")
    a = explain(hr, "hr/people", "user=ana,group=ds,purpose=ads,host=h1")
    assert a["outcome"] == "deny" and a["rules"] == ["default"]
    assert a["nearest_permit"]["rule"] == "hr/study" and a["nearest_permit"]["line"] == 3
    assert a["nearest_permit"]["lacks"] == 'when purpose in {"research", "study"} (purpose is ads)'
    out = hr.run("policy", "explain", "hr/people", "--as", "user=eve,group=x,group=y,purpose=ads,host=h9,run=r").stdout
    assert re.search(r"nearest permit:\n  hr/audit does not hold: unless host == h9 \(host is h9\)\n +\S*/policy/hr\.policy:11\n", out.replace('"', ""))
    a = explain(hr, "hr/people", "user=ana,group=x,purpose=study,host=h9,run=r")
    assert a["nearest_permit"]["lacks"].replace('"', "") == 'when ds in group (group is x)'
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=study")["nearest_permit"] is None
    rules(hr, "policy hr scope domain hr version 2\n\npermit files\n  files   hr/other/**\n", "hr")
    assert explain(hr, "hr/people", WHO)["nearest_permit"]["lacks"] == "it is for files hr/other/**"
    assert explain(hr, "hr/secret", WHO)["nearest_permit"] is None  # what is hidden is not spoken of


@pytest.mark.parametrize("words, status, said", [
    (["hr/nobody"], 4, "hr/nobody"),
    (["nowhere/people"], 4, "nowhere"),
    (["hr"], 2, "not of a domain"),
    ([], 2, "one address"),
    (["hr/people", "--as", "purpos=x"], 2, "did you mean 'purpose'"),
    (["hr/people", "--as", "user"], 2, "not 'user'"),
    (["hr/people", "--sa", "user=x"], 2, "--as"),
])
def test_explain_refuses(hr, words, status, said):
    assert said in hr.run("policy", "explain", *words, status=status).stderr


def test_a_verb_that_is_not_there(hr):
    assert "did you mean 'explain'" in hr.run("policy", "explian", status=2).stderr
    assert hr.run("policy", "--help").stdout.count("\npolicy ") >= 6
    assert hr.run("policy", status=2).stderr


# -- test --------------------------------------------------------------------------------------

TESTS = """
test trainer
  as      user ana group ds purpose training
  read    hr/people/1.0.0/people.csv
  expect  view email=drop age=keep by no-pii

test ads
  as      user ana group ads purpose marketing
  read    hr/people/1.0.0/people.csv
  expect  deny by no-ads
"""


def test_policy_test_runs_them_and_names_what_none_reached(hr):
    assert "has no test" in hr.run("policy", "test", status=1).stderr
    rules(hr, MESH + TESTS)
    assert hr.run("policy", "test").stdout.endswith("2 passed, 0 failed\n")
    out = hr.run("policy", "test", "--coverage").stdout
    assert re.findall(r"^not reached: (\S+) \(\S+mesh\.policy:(\d+)\)$", out, re.M) == [("rules/secret", "12")]
    assert [x["unreached"] for x in hr.json("policy test", "--coverage") if "unreached" in x] == ["rules/secret"]
    rules(hr, MESH + TESTS + "\ntest hidden\n  as user ana group ds purpose study\n  read hr/secret/1.0.0/people.csv\n  expect hide by secret\n")
    assert "3 passed, 0 failed; every rule was reached" in hr.run("policy", "test", "--coverage").stdout


def test_a_failing_policy_test_fails(hr):
    rules(hr, MESH + TESTS.replace("email=drop", "email=keep"))
    done = hr.run("policy", "test", status=1)
    assert re.search(r"^FAIL rules/trainer \(\S+mesh\.policy:\d+\): column email: expected keep, and it is drop$", done.stdout, re.M)
    failed = [x for x in hr.json("policy test", status=1) if not x["passed"]]
    assert [x["test"] for x in failed] == ["trainer"]


def test_rows_of_a_version_that_exists_are_counted(hr):
    text = ("policy adults scope mesh version 1\n\nfilter adults\n  rows row.age >= 18\n\ntest adults\n  as user ana group ds purpose study\n"
            "  read hr/people/1.0.0/people.csv\n  expect view rows {} of 3 by adults\n")
    rules(hr, text.format(2), "adults")
    hr.run("policy", "test")
    rules(hr, text.format(1), "adults")
    assert "2 of 3" in hr.run("policy", "test", status=1).stdout


# -- diff --------------------------------------------------------------------------------------

@pytest.fixture
def proposal(hr, tmp_path):
    """A copy of the policy folder, and how to compare it."""
    new = tmp_path / "new"
    shutil.copytree(hr.folder / "policy", new)

    def diff(text, *args, status=0):
        (new / "mesh.policy").write_text(text)
        done = hr.run("policy", "diff", hr.folder / "policy", new, "--json", *args, status=status)
        return [json.loads(line) for line in done.stdout.splitlines()], done.stderr
    return diff


def test_diff_of_the_same_rules_is_empty(proposal):
    changes, _ = proposal("# another comment\n" + MESH.replace("version 1", "version 2"), "--no-loosen")
    assert changes == []


def test_diff_names_what_is_loosened_and_no_loosen_refuses(hr, proposal):
    loose = MESH.replace("deny no-ads\n  when    purpose == marketing\n", "deny no-ads\n  when    purpose == resale\n")
    changes, stderr = proposal(loose, "--no-loosen", status=3)
    assert "loosens" in stderr
    assert {"loosened", "tightened"} == {c["change"] for c in changes}
    assert any("marketing" in c["subject"] and c["before"] == "deny" for c in changes if c["change"] == "loosened")
    assert proposal(loose)[0] == changes


def test_diff_of_a_tightening_passes_no_loosen(proposal):
    changes, _ = proposal(MESH.replace("  when    purpose == training\n", ""), "--no-loosen")
    assert changes and {c["change"] for c in changes} == {"tightened"}
    assert {c["what"] for c in changes if c["product"] == "hr/people"} >= {"column email"}


@pytest.mark.parametrize("old, new, loosened", [
    ('deny d\n  when group == a\n', 'deny d\n  when group == a\n  when group == b\n', True),
    ('deny d\n  when group == a\n  unless group == b\n', 'deny d\n  when group == a\n', False),
    ('deny d\n  when uid >= 1000\n', 'deny d\n  when uid >= 2000\n', True),
    ('deny d\n  when uid in {5, 6}\n', 'deny d\n  when uid in {5, 6, 7}\n', False),
    ('deny d\n  when file.size > 100\n', 'deny d\n  when file.size > 1000\n', True),
    ('deny d\n  when file.format == parquet\n', 'deny d\n  when file.format in {parquet, jsonl}\n', False),
    ('deny d\n  when file.path like "raw/*"\n', 'deny d\n  when file.path like "raw/x*"\n', True),
    ('deny d\n  when host == lab\n', 'deny d\n  when host in {lab, den}\n', False),
    ('deny d\n  when product.tags == gold\n', 'deny d\n  when product.tags in {gold, tin}\n', False),
    ('deny d\n  when user like "x*"\n', 'deny d\n  when user like "xy*"\n', True),
    ('deny d\n  when product.age_days > 30\n', 'deny d\n  when product.age_days > 90\n', True),
    ('deny d\n  when now > 2020-01-01\n', 'deny d\n  when now > 2090-01-01\n', True),
    ('deny d\n  when group == a\n', 'deny d\n  when group == a\n  unless group == product.team\n', True),
    # exempts that last longer, versions to come, globs of products and domains
    ('deny d\n\nexempt e from d until 2090-01-01\n', 'deny d\n\nexempt e from d until 2091-01-01\n', True),
    ('deny d\n  files sales/orders/**\n', 'deny d\n  files sales/orders/1.0.0/**\n', True),
    ('deny d\n  files sales/orders/**\n', 'deny d\n  files sales/orders/2.*/**\n', True),
    ('deny d\n  files sales/ord*/**\n', 'deny d\n  files sales/ord*/*/a.csv\n', True),
    ('deny d\n', 'deny d\n\nexempt e from d until 2090-01-01\n  files */secret/**\n', True),
    # filters that imply each other
    ('filter f\n  rows row.age >= 21\n', 'filter f\n  rows row.age >= 18\n', True),
    ('filter f\n  rows row.age > 18\n', 'filter f\n  rows row.age in {19, 30} and row.b == x\n', False),
    ('filter f\n  rows row.age < 18\n', 'filter f\n  rows row.age <= 18\n', True),
    ('filter f\n  rows row.d <= 2026-01-01 or row.a == 1\n', 'filter f\n  rows row.d < 2025-01-01\n', False),
    ('filter f\n  rows row.name is not null\n', 'filter f\n  rows row.name like "a*"\n', False),
    ('filter f\n  rows row.a in {1, 2, 3}\n', 'filter f\n  rows row.a in {1, 3}\n', False),
])
def test_diff_asks_of_every_attribute(mesh, tmp_path, old, new, loosened):
    head, permit = "policy m scope mesh version 1\n\n", "policy p scope domain sales version 1\npermit all\n"
    for name, text in (("old", old), ("new", new)):
        write_tree(tmp_path / name, {"m.policy": head + text, "p.policy": permit})
    for a, b, loosens in (("old", "new", loosened), ("new", "old", not loosened)):
        out = mesh.run("policy", "diff", tmp_path / a, tmp_path / b, "--json", "--no-loosen", status=3 if loosens else 0).stdout
        assert {json.loads(line)["change"] for line in out.splitlines()} == {"loosened" if loosens else "tightened"}


def test_diff_tells_who_may_publish(mesh, tmp_path):
    head = "policy p scope domain sales version 1\n\npermit all\n\n"
    for name, text in (("old", "permit w to publish\n  when group == owners\n"), ("new", "permit w to publish\n")):
        write_tree(tmp_path / name, {"p.policy": head + text})
    out = mesh.run("policy", "diff", tmp_path / "old", tmp_path / "new", "--json", "--no-loosen", status=3).stdout
    changes = [json.loads(line) for line in out.splitlines()]
    assert [(c["change"], c["what"], c["before"], c["after"]) for c in changes] == [("loosened", "publishing", "refused", "permitted")]
    back = mesh.run("policy", "diff", tmp_path / "new", tmp_path / "old", "--no-loosen").stdout
    assert "tightened sales/any: publishing: permitted -> refused" in back


@pytest.mark.parametrize("one, other", [("row.a == 1", "row.b == 1"), ("row.a > 1", "row.a < 5"), ("row.a == 1", "row.a != 2"), ("row.a > 1 or row.b > 1", "row.a > 1 or row.c > 1")])
def test_diff_of_filters_that_cannot_be_ordered_is_a_loosening(mesh, tmp_path, one, other):
    for name, text in (("old", one), ("new", other)):
        write_tree(tmp_path / name, {"m.policy": f"policy m scope mesh version 1\n\nfilter f\n  rows {text}\n", "p.policy": "policy p scope domain sales version 1\npermit all\n"})
    mesh.run("policy", "diff", tmp_path / "old", tmp_path / "new", "--no-loosen", status=3)
    mesh.run("policy", "diff", tmp_path / "old", tmp_path / "old", "--no-loosen")


# -- key ---------------------------------------------------------------------------------------

def test_a_new_key_is_private_and_named_in_the_mesh_file(hr):
    text = hr.file.read_text()
    path = hr.run("policy", "key", "new", "train-1").stdout.strip()
    st = os.stat(path)
    assert stat.S_IMODE(st.st_mode) == 0o600 and st.st_uid == os.geteuid()
    assert stat.S_IMODE(os.stat(os.path.dirname(path)).st_mode) & 0o022 == 0
    assert "train-1" in hr.file.read_text() and hr.file.read_text() != text
    secret = open(path, "rb").read()
    assert len(secret) >= 32
    assert "never replaced" in hr.run("policy", "key", "new", "train-1", status=1).stderr
    assert open(path, "rb").read() == secret
    hr.run("policy", "key", "new", "train-2")
    assert (hr.folder / "keys/train-2.key").read_bytes() != secret
    for bad in ("../x", ".hidden", "a b", "x" * 64):
        hr.run("policy", "key", "new", bad, status=2)


def test_a_key_that_others_can_read_is_refused(hr):
    path = hr.run("policy", "key", "new", "k").stdout.strip()
    rules(hr, "policy k scope mesh version 1\n\nmask m\n  columns tagged pii\n  with hmac key k\n", "k")
    hr.run("policy", "check")
    os.chmod(path, 0o644)
    assert "k.policy:5:8:" in hr.run("policy", "check", status=2).stderr


# -- publish: a domain governs itself ------------------------------------------------------------

OWN = """policy own scope domain hr version 1

deny no-resale
  when purpose == resale

drop emails
  columns named email
  when purpose == research
"""


def own(mesh, text, *args, name="own.policy", domain="hr", **options):
    path = mesh.folder / name
    path.write_text(text)
    return mesh.run("policy", "publish", domain, path, *args, **options)


def test_a_domain_tightens_by_what_it_publishes(hr):
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=resale")["outcome"] == "allow"
    assert own(hr, OWN).stdout == "hr:own.policy is published\n"
    a = explain(hr, "hr/people", "user=ana,group=ds,purpose=resale")
    assert a["outcome"] == "deny" and a["rules"] == ["own/no-resale"]
    assert [r["file"] for r in a["made_by"]] == ["hr:own.policy"]
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=research")["columns"] == {"email": "drop"}
    assert own(hr, OWN).stdout == "hr:own.policy was published already\n"
    assert hr.run("policy", "publish", "hr", "--remove", "own.policy").stdout == "hr:own.policy is removed\n"
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=resale")["outcome"] == "allow"
    hr.run("policy", "publish", "hr", "--remove", "own.policy", status=4)


def test_a_domain_cannot_loosen_the_mesh(hr):
    own(hr, "policy open scope domain hr version 1\n\npermit everything\n")
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=marketing")["outcome"] == "deny"
    assert explain(hr, "hr/people", "user=ana,group=ds,purpose=training")["columns"] == {"email": "drop"}
    assert explain(hr, "hr/secret", WHO)["outcome"] == "hide"
    done = own(hr, "policy own scope domain hr version 1\n\nexempt us from no-ads until 2099-01-01\n", status=2)
    assert "own.policy:3:1:" in done.stderr and "exempt" in done.stderr


def test_a_domain_cannot_touch_another(hr):
    hr.domain("ops")
    hr.publish("ops/logs/1.0.0", {"a.txt": "x\n"})
    own(hr, "policy grab scope domain hr version 1\n\nhide all\n  files ops/**, **\n", name="grab.policy")
    assert explain(hr, "ops/logs", WHO)["outcome"] == "allow"
    assert explain(hr, "hr/people", WHO)["outcome"] == "hide"
    for scope in ("mesh", "domain ops"):
        done = own(hr, f"policy grab2 scope {scope} version 1\n\ndeny all\n", name="grab2.policy", status=2)
        assert "grab2.policy:1:1: a policy that domain hr publishes has the scope 'domain hr', no other" in done.stderr


@pytest.mark.parametrize("text, said", [
    ("policy own scope domain hr version 1\n\npermitt all\n", "own.policy:3:1: 'permitt' is no block; did you mean 'permit'?"),
    ("policy hr scope domain hr version 1\n\npermit all\n", "policy 'hr' stands in"),
    ("", "own.policy:1:1:"),
])
def test_what_does_not_load_is_not_published(hr, text, said):
    assert said in own(hr, text, status=2).stderr
    assert explain(hr, "hr/people", WHO)["outcome"] == "allow"


def test_publish_refuses_wrong_usage(hr):
    hr.run("policy", "publish", status=2)
    hr.run("policy", "publish", "hr", status=2)
    own(hr, OWN, domain="hrr", status=4)
    own(hr, OWN, name="own.txt", status=2)
    hr.run("policy", "publish", "hr", hr.folder / "absent.policy", status=4)
    own(hr, OWN)
    (answer,) = hr.json("policy publish", "hr", hr.folder / "own.policy")
    assert answer["outcome"] == "unchanged" and answer["files"] == ["own.policy"] and answer["removed"] == []


# -- mounts ------------------------------------------------------------------------------------

def status_of(mount):
    return json.loads((mount.path / ".mesh/status.json").read_text())




def test_apply_waits_for_the_mounts(hr):
    assert "no mount of yours runs here" in hr.run("policy", "apply").stdout
    with hr.mount(purpose="study") as m:
        file = m.path / "hr/people/1.0.0/people.csv"
        assert file.read_text() == PEOPLE
        rules(hr, MESH + "\ndrop ages\n  columns named age\n")
        out = hr.run("policy", "apply").stdout
        assert f"{m.path}: the policy is in force\n" in out
        assert file.read_text() == "id,email\n1,ana@example.org\n2,bo@example.org\n3,cy@example.org\n"
        (checked, told) = hr.json("policy apply")
        assert told == {"mountpoint": str(m.path), "in_force": True, "problem": None}
        assert status_of(m)["policy"] == checked["policy"]
        rules(hr, MESH + "\nfroth ages\n")
        hr.run("policy", "apply", status=2)
        wait_for(lambda: status_of(m)["policy_error"], what="the broken policy")
        assert status_of(m)["policy"] == checked["policy"]
        assert file.read_text().startswith("id,email\n")


def test_a_domain_publishes_rules_while_mounted(hr):
    with hr.mount(purpose="resale") as m:
        file = m.path / "hr/people/1.0.0/people.csv"
        assert file.read_text() == PEOPLE
        own(hr, OWN)
        hr.run("policy", "apply")
        with pytest.raises(PermissionError):
            file.read_text()


def test_the_last_good_rules_of_a_domain_stay(hr, tmp_path):
    """What the domain publishes is good by the mesh it was checked against, and clashes with ours."""
    own(hr, OWN)
    clash = "policy taken scope domain hr version 1\n\npermit all\n"
    with hr.mount(purpose="resale") as m:
        file = m.path / "hr/people/1.0.0/people.csv"
        with pytest.raises(PermissionError):
            file.read_text()
        own(hr, clash + "\ndeny more\n  when purpose == nothing\n", name="taken.policy")
        hr.run("policy", "apply")
        rules(hr, "policy taken scope domain hr version 1\n\npermit all\n", "taken")
        wait_for(lambda: "policy 'taken' stands in" in (status_of(m)["policy_error"] or ""), what="the clash")
        assert "hr:taken.policy:1:1" in status_of(m)["policy_error"]
        # The others keep reading, and nothing is looser than it was.
        with pytest.raises(PermissionError):
            file.read_text()
        os.unlink(hr.folder / "policy/taken.policy")
        wait_for(lambda: not status_of(m)["policy_error"], what="the mended policy")
        hr.run("policy", "publish", "hr", "--remove", "own.policy")
        hr.run("policy", "apply")
        assert file.read_text() == PEOPLE


def test_a_domain_without_good_rules_is_denied(hr):
    own(hr, "policy taken scope domain hr version 1\n\npermit all\n", name="taken.policy")
    rules(hr, "policy taken scope domain hr version 1\n\npermit all\n", "taken")
    assert explain(hr, "hr/people", WHO)["outcome"] == "deny"
    with hr.mount(purpose="study") as m:
        assert "hr:taken.policy:1:1" in status_of(m)["policy_error"]
        with pytest.raises(PermissionError):
            (m.path / "hr/people/1.0.0/people.csv").read_text()
        assert "taken" in m.log()


# -- what the manual shows -----------------------------------------------------------------------

def manual_examples():
    text = (TOP / "docs/meshfs-policy.5").read_text()
    blocks = re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.S | re.M)
    blocks = [b.replace("\\e", "\\").replace("\\-", "-").replace("\\(dq", '"') for b in blocks]
    return [b for b in blocks if b.startswith("policy ")]  # the others are tables


def test_the_examples_of_the_manual_load_and_hold(mesh):
    examples = manual_examples()
    assert len(examples) >= 3
    for i, text in enumerate(examples):
        rules(mesh, text, f"example{i}")
    mesh.run("policy", "key", "new", "train-1")
    mesh.run("policy", "check")
    out = mesh.run("policy", "test").stdout
    assert out.endswith(f"{sum(text.count(chr(10) + 'test ') for text in examples)} passed, 0 failed\n")


def test_each_example_of_the_manual_loads_alone(mesh):
    mesh.run("policy", "key", "new", "train-1")
    for text in manual_examples():
        rules(mesh, text, "example")
        mesh.run("policy", "check")


def test_the_starting_policies_load(mesh):
    mesh.domain("sales")
    assert "0 warnings" in mesh.run("policy", "check").stdout


def documented_policies():
    """Every policy that stands in the documentation: (where, text).  A heading of the README's kind opens one, a heredoc's end closes it."""
    found = []
    for path in [TOP / "README.md", *sorted((TOP / "docs").glob("*.md"))]:
        for text in re.findall(r"^policy \S+ scope .*?(?=^(?:END|EOF|```)$)", path.read_text(), re.S | re.M):
            found.append((path.name, text))
    for path in sorted((TOP / "docs/examples").rglob("*.policy")):
        found.append((path.name, path.read_text()))
    return found


def test_every_policy_of_the_documentation_loads(mesh):
    found = documented_policies()
    assert {"README.md", "governance.policy", "health.policy"} <= {where for where, _ in found}
    for key in set(re.findall(r"hmac\s+key\s+(\S+)", "".join(text for _, text in found))):
        mesh.run("policy", "key", "new", key)
    for where, text in found:
        rules(mesh, text, "documented")
        done = mesh.run("policy", "check", check=False)
        assert done.returncode == 0, f"{where}: {done.stderr}"


def test_the_tests_in_the_example_policies_hold(mesh):
    examples = [text for where, text in documented_policies() if where.endswith(".policy")]
    mesh.run("policy", "key", "new", "study-1")
    for i, text in enumerate(examples):
        rules(mesh, text, f"example{i}")
    out = mesh.run("policy", "test").stdout
    assert out.endswith(f"{sum(len(re.findall('^test ', text, re.M)) for text in examples)} passed, 0 failed\n")
