"""What the documentation says is what the program does."""
import re
import shutil
import subprocess

import pytest

from meshkit import TOP, binary, need_fuse


def blocks(path, language):
    return re.findall(rf"^```{language}\n(.*?)^```$", (TOP / path).read_text(), re.S | re.M)


def shell_environment(mesh):
    """As a user has it who installed the program."""
    env = mesh.environment()
    folder = mesh.folder / "bin"
    folder.mkdir(exist_ok=True)
    (folder / "meshfs").unlink(missing_ok=True)
    (folder / "meshfs").symlink_to(binary())
    env["PATH"] = f"{folder}:{env['PATH']}"
    env.pop("MESHFS_MESH", None)
    return env


def test_the_tour_of_the_readme(meshes):
    need_fuse()
    mesh = meshes(init=False)
    tour = blocks("README.md", "sh")
    assert len(tour) >= 6
    home = mesh.environment()["HOME"]
    try:
        done = subprocess.run(["bash", "-exc", "\n".join(tour)], cwd=home, env=shell_environment(mesh), capture_output=True, text=True,
                              timeout=120)
    finally:
        subprocess.run([binary(), "umount", f"{home}/mesh"], env=shell_environment(mesh), capture_output=True)
    assert done.returncode == 0, done.stderr
    out = done.stdout
    assert "order_id,customer,email,amount\n1,ana,ana@example.org,12.50\n" in out  # the mount, no purpose
    assert "order_id,customer,amount\n1,ana,12.50\n2,bo,7.00\n" in out  # the run, training
    assert "1 passed, 0 failed" in out
    assert re.search(r"served  sales/orders/1.0.0/orders.csv  by cat\[\d+\] in churn-model", out)
    assert "version sales/totals/1.0.0\n  run totals" in out


def manual(name="meshfs.1"):
    """The page's text, without the escapes that roff wants."""
    text = (TOP / "docs" / name).read_text()
    return re.sub(r"\\f[BIRP]|\\&", "", text).replace(r"\-", "-").replace(r"\(aq", "'").replace(r"\e", "\\")


def commands():
    return re.findall(r'^COMMAND\(\w+, "(\w+)"', (TOP / "fs" / "commands.def").read_text(), re.M)


def ask(*words):
    done = subprocess.run([binary(), *words, "--help"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 0, (words, done.stderr)
    return done.stdout


def verbs(command):
    """What stands as words of its own in the help of `domain`, `lineage`, `policy`, `product`: [[command, verb], …]."""
    text = ask(command)
    if command == "lineage":
        found = re.findall(r"^  ([a-z-]+) .*  ", text, re.M)
    elif command == "policy":
        found = re.findall(r"^policy ((?:[a-z]+ ?)+?) (?: |[A-Z[])", text, re.M)
    elif command in ("domain", "product"):
        found = re.findall(rf"^(?:usage:|      ) meshfs {command} ([a-z]+)", text, re.M)
    else:
        return [[command]]
    assert found, text
    return [[command, *verb.split()] for verb in found]


def all_verbs():
    return [words for command in commands() for words in verbs(command)]


def sections():
    """{"lineage reads": the text of its section}"""
    found = {}
    for title, body in re.findall(r'^\.SS "meshfs (.*?)"\n(.*?)(?=^\.S[SH])', manual(), re.S | re.M):
        found[title] = body
    return found


def section(words):
    name = " ".join(words)
    (body,) = [b for title, b in sections().items() if title == name or title.startswith(name + " ")]
    return body


def test_every_command_and_option_is_in_the_manual():
    everything = all_verbs()
    assert len(everything) >= 30
    for words in everything:
        body = section(words)
        options = re.findall(r"^  (?:-(\w), |    )(--[a-z-]+)(?: ([A-Z][A-Z=]*))?", ask(*words), re.M)
        for letter, name, argument in options:
            if name == "--help":
                continue
            entry = re.search(rf"^\.BI? .*{name}\b.*", body, re.M)
            assert entry, f"meshfs {' '.join(words)} {name} is not in the manual"
            assert not letter or f"-{letter}, " in entry[0], entry[0]
            assert not argument or argument in entry[0], entry[0]


def test_the_manual_has_no_command_or_option_that_the_program_lacks():
    known = {" ".join(words): ask(*words) for words in all_verbs()}
    for title, body in sections().items():
        (name,) = [n for n in known if title == n or title.startswith(n + " ")]
        for option in re.findall(r"^\.BI? .*?(--[a-z-]+)", body, re.M):
            assert option in known[name], f"{name} has no {option}"


def test_every_environment_variable_is_in_the_manual():
    names = set()
    for path in [p for floor in ("fs", "policy", "catalog") for p in (TOP / floor).rglob("*.c")]:
        names |= set(re.findall(r'"((?:AWS|MESHFS|XDG|SSL)_[A-Z_]+)"', path.read_text()))
        names |= set(re.findall(r'getenv\("([A-Z_]+)"\)', path.read_text()))
    page = manual()
    assert len(names) > 12 and not [n for n in sorted(names - {"PATH"}) if n not in page]


def test_every_key_of_mesh_yaml_is_in_the_manual():
    source = (TOP / "catalog" / "mesh.c").read_text()
    keys = set(re.findall(r'\{ "([a-z_]+)", read_\w+ \}', source))
    for known in re.findall(r"known\[\] = \{(.*?)\}", source, re.S):
        keys |= set(re.findall(r'"([a-z_]+)"', known))
    page = manual().split(".SH MESH.YAML")[1].split(".SH FILES")[0]
    assert {"mesh", "store", "on_full", "views"} <= keys
    assert not [k for k in keys if not re.search(rf"\b{k}\b", page)]


def test_every_extended_attribute_is_in_the_manual():
    names = re.findall(r'"(user\.mesh\.\w+)"', (TOP / "fs" / "op_xattr.c").read_text())
    assert len(names) >= 4 and not [n for n in names if n not in manual()]


def test_manual_pages_are_well_formed():
    if not shutil.which("groff"):
        pytest.skip("groff is not installed")
    for page in sorted((TOP / "docs").glob("*.[15]")):
        done = subprocess.run(["groff", "-man", "-Tutf8", "-ww", "-z", str(page)], capture_output=True, text=True, timeout=30)
        assert done.returncode == 0 and not done.stderr, done.stderr


def examples(page):
    """The blocks between .EX and .EE."""
    text = (TOP / "docs" / page).read_text()
    return [re.sub(r"\\&", "", b).replace(r"\-", "-").replace(r"\e", "\\") for b in re.findall(r"^\.EX\n(.*?)^\.EE$", text, re.S | re.M)]


def test_the_example_mesh_file(mesh):
    (text,) = [e for e in examples("meshfs.1") if e.startswith("mesh: acme")]
    mesh.file.write_text(text)
    done = mesh.run("policy", "key", "new", "train-2")  # reads all of it, and adds to it
    assert "train-2" in mesh.file.read_text(), done.stderr


def test_the_example_contract(mesh):
    """It publishes its data, and what breaks it is refused."""
    (text,) = [e for e in examples("meshfs-contract.5") if e.startswith("apiVersion")]
    (mesh.folder / "c.yaml").write_text(text)
    mesh.domain("d")
    rows = "id,day,country,mail\n1,2026-01-02,DE,a@example.org\n2,2026-01-03,FR,b@example.org\n3,2026-01-03,FR,NA\n"
    mesh.publish("d/orders/1.0.0", {"orders.csv": rows}, "--contract", mesh.folder / "c.yaml")
    for old, new in (("2026-01-02", "2019-01-02"), ("DE", "de"), ("NA", "none"), ("2,", "1,"), ("b@example.org", "NA")):
        mesh.publish("d/orders/1.0.1", {"orders.csv": rows.replace(old, new)}, status=3)
    (waiver,) = [e for e in examples("meshfs-contract.5") if "personalDataWaiver" in e]
    waived = text.replace("        tags: [pii, EMAIL_ADDRESS]\n        classification: restricted\n", "".join(f"        {line}\n" for line in waiver.splitlines()))
    (mesh.folder / "c.yaml").write_text(waived)
    mesh.publish("d/orders/1.0.1", {"orders.csv": rows}, "--contract", mesh.folder / "c.yaml")
    (mesh.folder / "c.yaml").write_text(waived.replace("personalDataWaiver", "somethingElse"))
    mesh.publish("d/orders/1.0.2", {"orders.csv": rows}, "--contract", mesh.folder / "c.yaml", status=3)


def test_what_is_checked_is_in_its_manual():
    page = (TOP / "docs" / "meshfs-contract.5").read_text().replace("\\-", "-")
    value, valid = (TOP / "catalog" / "quality_value.c").read_text(), (TOP / "catalog" / "contract_validate.c").read_text()
    words = set(re.findall(r'\{ "(\w+)", is_\w+ \}', value))  # formats of texts
    words |= set(re.findall(r'"(mustN?\w+)"', valid)) | {"nullValues", "missingValues", "invalidValues", "duplicateValues", "rowCount"}
    options = valid[valid.index("#define MOMENT_FIELDS"):valid.index("static int check_options")]
    words |= set(re.findall(r'OPTIONAL\("(\w+)"', options))
    assert len(words) > 30 and not [w for w in words if not re.search(rf"\b{w}\b", page)]


def test_the_example_policies(mesh):
    """Every example of meshfs-policy(5) loads, and the tests in it pass."""
    policies = [e for e in examples("meshfs-policy.5") if e.startswith("policy ")]
    assert len(policies) >= 3
    for domain in ("retail", "health", "sales"):
        mesh.domain(domain)
        (mesh.folder / "policy" / f"{domain}.policy").unlink()
    for i, text in enumerate(policies):
        (mesh.folder / "policy" / f"example{i}.policy").write_text(text)
    mesh.run("policy", "key", "new", "train-1")
    mesh.run("policy", "check")
    results = mesh.json("policy test")
    wanted = sum(len(re.findall(r"^test ", text, re.M)) for text in policies)
    assert len([r for r in results if r.get("passed")]) == wanted, results


def test_what_the_documents_name_is_there():
    """Files and tests that stand in backticks."""
    documents = [TOP / "README.md", *(TOP / "docs").glob("*.md")]
    names = "\n".join(p.read_text() for p in (TOP / "test" / "e2e").glob("*.py"))
    lost = []
    for page in documents:
        for word in re.findall(r"`([^`\n]+)`", page.read_text()):
            if re.fullmatch(r"test_\w+", word):
                found = f"def {word}(" in names
            elif re.fullmatch(r"(?:fs|policy|catalog|test|docs|scripts)/[\w./*-]+", word):
                found = list(TOP.glob(word.rstrip("/"))) or list(TOP.glob(word + ".[ch]"))
            else:
                continue
            if not found:
                lost.append(f"{page.name}: {word}")
    assert not lost


def test_every_word_of_the_language_is_in_its_manual():
    sources = {name: (TOP / "policy" / name).read_text() for name in ("attribute.c", "mask_order.c", "parse.c", "parse_test.c")}
    words = re.findall(r'\{ "([a-z_.]+)", VALUE_', sources["attribute.c"])
    for name, table in (("mask_order.c", "names"), ("mask_order.c", "entities"), ("parse.c", r"rule_kind_names\[RULE_KINDS\]"),
                        ("parse.c", "clause_names"), ("parse.c", "words"), ("parse_test.c", "words")):
        for found in re.findall(rf"{table}(?:\[\])? = \{{(.*?)\}}", sources[name], re.S):
            words += re.findall(r'"([A-Za-z_]+)"', found)
    page = manual("meshfs-policy.5")
    assert len(set(words)) > 60 and not [w for w in sorted(set(words)) if not re.search(rf"(?<![\w.]){re.escape(w)}(?!\w)", page)]


def test_the_examples_of_masks(mesh, fuse):
    (table,) = [e for e in examples("meshfs-policy.5") if e.startswith("redact ")]
    rows = [re.split(r" {2,}", line) + [""] for line in table.splitlines()]
    assert len(rows) >= 12
    contract = ["apiVersion: v3.1.0", "kind: DataContract", "id: m", "name: m", "version: 1.0.0", "status: active", "schema:",
                "  - name: masks", "    properties:"]
    policy = ["policy masks scope mesh version 1", ""]
    for i, (mask, *_) in enumerate(rows):
        kind = "date" if mask in ("year", "month") else "number" if mask.split()[0] in ("round", "top") else "string"
        contract.append(f"      - {{ name: c{i}, logicalType: {kind}, tags: [pii] }}")
        policy += [f"mask m{i}", f"  columns named c{i}", f"  with    {mask}", ""]
    (mesh.folder / "contract.yaml").write_text("\n".join(contract) + "\n")
    (mesh.folder / "policy" / "masks.policy").write_text("\n".join(policy))
    mesh.domain("d")
    header = ",".join(f"c{i}" for i in range(len(rows)))
    mesh.publish("d/masks/1.0.0", {"masks.csv": f"{header}\n{','.join(r[1] for r in rows)}\n"}, "--contract", mesh.folder / "contract.yaml")
    with mesh.mount() as m:
        lines = (m.path / "d/masks/1.0.0/masks.csv").read_text().splitlines()
    assert lines == [header, ",".join(r[2] for r in rows)]


# What users and scripts rely on: it may grow, and nothing of it may go.
FIXED = {
    "init": "--name", "domain add": "--owner --endpoint --region", "domain ls": "--json", "withdraw": "--reason", "ls": "--json",
    "publish": "--contract --onto --in-place --with-failures --dry-run --bump", "show": "--json", "search": "--json", "verify": "", "gc": "",
    "mount": "--purpose --run --user --foreground", "umount": "", "run": "--purpose --name --at --param --user --output", "warm": "",
    "cache": "", "policy check": "", "policy explain": "--as --json", "policy test": "--coverage", "policy diff": "--no-loosen",
    "policy apply": "", "policy key new": "", "lineage runs": "--json", "lineage reads": "--run --json", "lineage denials": "--json",
    "lineage up": "", "lineage down": "", "lineage trace": "--where", "lineage find": "", "lineage export": "--format",
    "lineage prune": "--before", "lineage verify": "--head", "lineage erasure-report": "--where", "lineage replay": "",
    "status": "--json", "doctor": "--json", "product new": "",
}


@pytest.mark.parametrize("command", FIXED)
def test_fixed_names(command):
    text = ask(*command.split())
    assert not [o for o in FIXED[command].split() if not re.search(rf"{o}\b", text)], text


@pytest.mark.parametrize("word", ["mont", "publsh", "doctr"])
def test_a_mistyped_command_is_suggested(word):
    done = subprocess.run([binary(), word], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2 and "did you mean" in done.stderr and done.stderr.count("\n") == 1
