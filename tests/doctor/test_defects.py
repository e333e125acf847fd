"""Every check finds the defect that is planted for it, and its remedy removes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest
from defects import DEFECTS, Defect

from clonedb.doctor import Finding, examine, examine_connection
from clonedb.doctor.check import all_checks
from clonedb.resources import sql_directory
from clonedb.testing import SUPERUSER, IsolatedDatabase

Connection = psycopg.Connection[Any]
PLANTED = [
    pytest.param(check, defect, id=f"{check}-{number}")
    for check, defects in DEFECTS.items()
    for number, defect in enumerate(defects)
]
IN_TRANSACTION = [case for case in PLANTED if case.values[1].plant]
BESIDE_IT = [case for case in PLANTED if not case.values[1].plant]


def filled(text: str, database: str) -> str:
    month = datetime.now(UTC).strftime("%Y_%m")
    return text.replace("{month}", month).replace("{database}", database)


def found_alone(findings: list[Finding], check: str, defect: Defect) -> Finding:
    """The check's one finding; nobody else has found anything."""
    assert {finding.check for finding in findings} == {check} | defect.also, findings
    (finding,) = (finding for finding in findings if finding.check == check)
    return finding


@pytest.mark.parametrize(("check", "defect"), IN_TRANSACTION)
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
