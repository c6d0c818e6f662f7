"""docs/AUDIT.md: its commands run in order, as they stand there, and their answers are right."""
import datetime
import json
import re
import shutil
import subprocess

import pytest

from meshkit import TOP, need_fuse

from test_docs import shell_environment

MARK = "@@ question "


@pytest.fixture(scope="module")
def answers(tmp_path_factory):
    """{number of the question (0: the example): its output}"""
    from meshkit import Mesh
    need_fuse()
    if not shutil.which("sqlite3"):
        pytest.skip("sqlite3 is not installed")
    mesh = Mesh(tmp_path_factory.mktemp("audit") / "mesh", init=False)
    script = ["set -e"]
    for part in re.split(r"^## ", (TOP / "docs" / "AUDIT.md").read_text(), flags=re.M)[1:]:
        number = re.match(r"(\d+)\.", part)
        script.append(f"echo '{MARK}{number[1] if number else 0}'")
        script += re.findall(r"^```sh\n(.*?)^```$", part, re.S | re.M)
    done = subprocess.run(["bash", "-c", "\n".join(script)], cwd=mesh.environment()["HOME"], env=shell_environment(mesh),
                          capture_output=True, text=True, timeout=150)
    mesh.close()
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr
    return {int(p.split("\n", 1)[0]): p.split("\n", 1)[1] for p in done.stdout.split(MARK)[1:]}


def objects(text):
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


def test_every_question_has_an_answer(answers):
    assert sorted(answers) == list(range(12)) and all(answers.values())
    assert answers[0].rstrip().endswith("exit 1")  # advertising was refused


def test_1_where_a_row_came_from(answers):
    assert re.search(r"^output .*model\.bin .*\n  run model-1 .*\n    version sales/orders/1\.0\.0 ", answers[1], re.M)
    assert "record 2: sales/orders/1.0.0/orders.csv row 3" in answers[1] and "2 of 2 records found" in answers[1]
    assert "2 records from sales/orders/1.0.0, 1 file" in answers[1]
    assert "1 row of sales/orders/1.0.0/orders.csv" in answers[1]


def test_2_who_must_be_told(answers):
    assert "output " in answers[2] and "version sales/totals/1.0.0" in answers[2]
    people = [line.split("|")[1:] for line in answers[2].splitlines() if "|" in line]
    assert people == [["model-1", "training"], ["report-1", "reporting"]]


def test_3_rows_about_a_person(answers):
    traced, report = answers[3].split("Versions that hold such rows", 1)
    assert "report-1" in traced and "model-1" not in traced and "ads-1" not in answers[3]
    assert "1 row of sales/orders/1.0.0/orders.csv" in traced
    assert "sales/orders/1.0.0  2 rows" in report and "sales/totals/1.0.0  by descent" in report
    assert "model.bin" in report and "shop, cleo" in report


def test_4_purposes(answers):
    assert re.search(r"^purposes +reporting, training$", answers[4], re.M)
    assert [line for line in answers[4].splitlines() if "|" in line] == ["advertising|denied|1", "reporting|served|1", "training|served|1"]


def test_5_the_rules_that_decided(answers):
    read, now = objects(answers[5])
    assert read["rules"] == "use/contact-data,use/one-customer-out,sales/everyone"
    assert read["policy"] == now["policy"]
    assert "today's policy decides the 1 read of model-1 the same" in answers[5]
    assert re.search(r"then:  served through view \w+ .*\n    today: served through view", answers[5]) and answers[5].rstrip().endswith("exit 3")
    assert "column email: drop" in answers[5] and "policy/use.policy:3" in answers[5]


def test_6_what_was_seen(answers):
    assert answers[6].startswith('model-1|orders.csv|column "email" drop')
    assert "rows not (row.customer_id == 18)" in answers[6] and "report-1" not in answers[6]


def test_7_quality(answers):
    (version,) = objects(answers[7])
    assert version["quality"]["failed_errors"] == 0
    assert {"check": "rowCount", "passed": True, "measured": 3}.items() <= [c for c in version["quality"]["checks"] if c["check"] == "rowCount"][0].items()


def test_8_categories_recipients_deadlines(answers):
    (source,) = objects(answers[8])
    assert source["address"] == "sales/orders/1.0.0" and source["categories"] == ["internal", "restricted", "pii", "EMAIL_ADDRESS"]
    today = datetime.datetime.now(datetime.timezone.utc).date()
    in_two_years = {str(datetime.date(d.year + 2, d.month, 1) + datetime.timedelta(d.day - 1)) for d in (today, today - datetime.timedelta(1))}  # midnight passes
    assert source["erase_by"] in in_two_years
    assert f"sales/orders/1.0.0  2 rows  to be erased by {source['erase_by']}" in answers[8]
    assert "sales/totals/1.0.0  by descent\n" in answers[8]  # no contract, no deadline
    assert [line.split("|")[1] for line in answers[8].splitlines() if re.fullmatch(r"\w+\|\w+", line)] == ["reporting", "training"]


def test_9_training_content_by_source(answers):
    assert answers[9].splitlines()[-2:] == ["address|runs|files", "sales/orders/1.0.0|1|1"]
    assert answers[9].startswith("sales/orders/1.0.0\n") and re.search(r"^ +description +orders as they were placed$", answers[9], re.M)


def test_10_the_record_is_whole(answers):
    assert re.search(r"^\d+ seals hold", answers[10], re.M) and re.search(r"^0$", answers[10], re.M)
    assert "0 runs have reads from before 2020-01-01" in answers[10] and answers[10].rstrip().endswith("exit 5")


def test_11_who_was_refused(answers):
    assert re.search(r"1× denied  sales/orders/1\.0\.0/orders\.csv  by cat\[\d+\] in ads-1  \(use/other-purposes\)", answers[11])
    assert "not a purpose that the contract allows" in answers[11]
