"""Every check finds the defect that is planted for it, and its remedy removes it."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from defects import DEFECTS, Defect

from clonedb.doctor import Finding, examine_connection
from clonedb.doctor.check import all_checks
from clonedb.resources import sql_directory

Connection = psycopg.Connection[Any]
PLANTED = [
    pytest.param(check, defect, id=f"{check}-{number}")
    for check, defects in DEFECTS.items()
    for number, defect in enumerate(defects)
    if defect.plant
]


def filled(text: str, database: str) -> str:
    month = datetime.now(UTC).strftime("%Y_%m")
    return text.replace("{month}", month).replace("{database}", database)


def found_alone(findings: list[Finding], check: str, defect: Defect) -> Finding:
    """The check's one finding; nobody else has found anything."""
    assert {finding.check for finding in findings} == {check} | defect.also, findings
    (finding,) = (finding for finding in findings if finding.check == check)
    return finding


@pytest.mark.parametrize(("check", "defect"), PLANTED)
def test_the_defect_is_found_and_the_remedy_removes_it(
    superuser: Connection, check: str, defect: Defect
) -> None:
    database = superuser.info.dbname
    superuser.execute(filled(defect.plant, database).encode())
    finding = found_alone(examine_connection(superuser).findings, check, defect)
    assert finding.object == filled(defect.object, database)
    superuser.execute(finding.remedy.encode())
    remaining = {finding.check for finding in examine_connection(superuser).findings}
    assert remaining <= defect.also


@pytest.mark.parametrize("check", ["hba_unencrypted", "hba_weak"])
def test_a_rule_of_pg_hba_is_found_and_the_remedy_removes_it(
    superuser: Connection, check: str
) -> None:
    (defect,) = DEFECTS[check]
    ((path,),) = superuser.execute("SHOW hba_file").fetchall()
    rules = Path(path)
    sound = rules.read_text()
    try:
        rules.write_text(f"{defect.rule}\n{sound}")
        finding = found_alone(examine_connection(superuser).findings, check, defect)
        assert finding.object == f"{path}:1"
        # "-- FILE, line 1: NEW in the place of OLD"
        instruction, reload = finding.remedy.split("\n")
        better, _, worse = instruction.removeprefix(f"-- {path}, line 1: ").partition(
            " in the place of "
        )
        rules.write_text(f"{defect.rule.replace(worse, better, 1)}\n{sound}")
        superuser.execute(reload.encode())
        assert examine_connection(superuser).findings == []
    finally:
        rules.write_text(sound)


def test_every_check_has_a_module_a_query_and_a_planted_defect() -> None:
    modules = {check.name for check in all_checks()}
    files = {file.stem for file in (sql_directory() / "doctor").glob("*.sql")}
    assert files == modules | {"examination"}
    assert set(DEFECTS) | {"ssl_off"} == modules  # the latter: test_examination.py
    assert len(modules) > 50


def test_every_check_says_what_is_wrong_and_why() -> None:
    for check in all_checks():
        first, _, why = check.doc.partition("\n\n")
        assert first.endswith("."), check.name
        assert len(why.split()) > 8, check.name
