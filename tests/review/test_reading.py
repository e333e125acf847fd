"""What this repository has committed is read whole: no line of the ledger is passed over."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec

from clonedb.check.entry import read_entry
from clonedb.review.highlight import plain_lines, sql_lines
from clonedb.review.plan_lines import same_shape, scans
from clonedb.review.revision import Revision

ROOT = Path(__file__).parents[2]
HERE = Revision(ROOT, "here")


def texts() -> dict[str, str]:
    folder = ROOT / "sql" / "ledger"
    files = [each for each in folder.glob("*/*.txt") if each.parent.name != "migrations"]
    return {f"{each.parent.name}.{each.stem}": each.read_text() for each in files}


def test_the_repository_has_no_problem_that_a_review_would_tell() -> None:
    assert HERE.problems == []
    assert HERE.unreadable_code == []
    assert HERE.queries.keys() == HERE.entries.keys()


def test_an_entry_says_all_that_its_text_says() -> None:
    around = (
        "query schema variants prepare choices are planned below takes returns reads writes calls "
        "may be run by not which lacks locks users plan as with never null its rows behind these "
        "a command without parse tree what it touches and proves is unknown nobody defaults"
    )
    for name, text in texts().items():
        entry = read_entry(text)
        assert entry.query == name
        said = {*around.split(), *words(str(msgspec.to_builtins(entry)))}
        assert {word for word in words(text) if not word.isdigit()} <= said, name


def words(text: str) -> list[str]:
    return re.findall(r"\w+", text)


def test_every_scan_of_every_plan_is_read() -> None:
    seen = 0
    for entry in HERE.entries.values():
        for plan in entry.plans:
            lines = [line for line in plan.lines if re.search(r"\bScan (?:\w+ )*on [a-z_]", line)]
            found = list(scans(plan.lines))
            assert [scan.table for scan in found] == [
                re.sub(r".* on (\w+).*", r"\1", line) for line in lines
            ]
            seen += len(found)
    assert seen > 500


def test_a_plan_is_the_same_without_the_planners_own_numbers_and_constants() -> None:
    plan = ["Insert on a", "  InitPlan 3", "    Result", "  Index Scan a_pkey on a AS a_2"]
    assert same_shape(plan, ["Insert on a", "  Index Scan a_pkey on a AS a_1"])
    assert not same_shape(plan, ["Insert on a", "  Index Scan a_other on a AS a_1"])
    assert not same_shape(["Insert on a", "  InitPlan 3", "    Aggregate"], ["Insert on a"])


def test_no_letter_of_a_text_is_lost_in_its_lines() -> None:
    for file in [*(ROOT / "sql").glob("*.sql"), *(ROOT / "migrations").glob("*.sql")]:
        text = file.read_text()
        for lines in (sql_lines(text), plain_lines(text)):
            assert "\n".join("".join(word.text for word in line) for line in lines) == text
