"""Retention policies: off for what is a customer's, set by few, and on record."""

from __future__ import annotations

import re
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec
import psycopg
import pytest
from ground import as_superuser
from policies import switched_on

from clonedb import Database, InvalidInput, NotFound, PermissionDenied
from clonedb.cli import main
from clonedb.testing import IsolatedDatabase

PAGE = Path(__file__).parents[2] / "docs" / "operations.md"

# Nothing of anybody, and counts that nobody has made for themselves.
NOT_A_CUSTOMERS = {"cache_use", "rate_limits"}


async def test_nothing_of_a_customers_is_deleted_until_somebody_says_so(app: Database) -> None:
    policies = await app.retention.find_many()
    assert {policy.name for policy in policies if policy.enabled} == NOT_A_CUSTOMERS
    assert len(policies) == 14


async def test_the_page_for_operators_has_every_policy_as_it_is(app: Database) -> None:
    told = re.findall(r"(?m)^\| `(\w+)` \| (\d+) \| (on|off) \| (.+) \|$", PAGE.read_text())
    assert told == [
        (one.name, str(one.keep_days), "on" if one.enabled else "off", one.description)
        for one in await app.retention.find_many()
    ]


async def test_what_is_set_is_kept_and_on_record_once(
    worker: Database, migrated: IsolatedDatabase
) -> None:
    put = worker.retention.put
    with switched_on(migrated):  # and back again
        stored = await put("deleted_users", keep=timedelta(days=60), enabled=True)
        assert (stored.keep_days, stored.enabled, stored.keep) == (60, True, timedelta(days=60))
        assert await put("deleted_users", keep=timedelta(days=60)) == stored
        assert await put("deleted_users", enabled=True) == stored
        assert stored in await worker.retention.find_many()
    with as_superuser(migrated) as connection:
        entries = connection.execute(
            "SELECT l.actor_ref, l.subject_ref, l.resource, l.result, d.user_id::text, d.metadata "
            "FROM clonedb.audit_logs AS l INNER JOIN clonedb.audit_subjects AS d ON d.id = l.id "
            "WHERE l.action = 'retention_policy.put'"
        ).fetchall()
    details = {
        "policy": "deleted_users",
        "keep_days": 60,
        "enabled": True,
        "login": "clonedb_worker",
    }
    nobody = "00000000-0000-0000-0000-000000000000"
    assert entries == [(None, None, "retention_policies", "success", nobody, details)]


async def test_a_policy_that_cannot_be_is_refused(worker: Database) -> None:
    with pytest.raises(NotFound, match="everything"):
        await worker.retention.put("everything", enabled=True)
    for keep in (
        timedelta(0),
        timedelta(days=-1),
        timedelta(hours=36),
        timedelta(days=36_501),
        timedelta.max,
    ):
        with pytest.raises(InvalidInput, match="whole number of days"):
            await worker.retention.put("deleted_users", keep=keep)
    with pytest.raises(InvalidInput, match="audit_logs_are_kept_a_month"):
        await worker.retention.put("audit_logs", keep=timedelta(days=30))
    with pytest.raises(InvalidInput):
        await worker.retention.put("deleted_users", enabled="on")  # type: ignore[arg-type]


async def test_few_may_set_one_and_nobody_past_the_record(
    app: Database, migrated: IsolatedDatabase
) -> None:
    with pytest.raises(PermissionDenied):
        await app.retention.put("deleted_users", enabled=True)
    for role in ("clonedb_app", "clonedb_worker", "clonedb_dba", "clonedb_readonly"):
        with psycopg.connect(migrated.dsn(role), autocommit=True) as connection:
            for statement in (
                "UPDATE clonedb.retention_policies SET enabled = true",
                "INSERT INTO clonedb.retention_policies VALUES ('all', 'all', 1, true)",
                "DELETE FROM clonedb.retention_policies",
                "SELECT clonedb.mark_expired_month('audit_logs', current_date, now())",
            ):
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(statement.encode())


def test_the_command_lists_and_sets(
    migrated: IsolatedDatabase,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def run(role: str, *arguments: str) -> tuple[object, str, str]:
        monkeypatch.setenv("DATABASE_URL", migrated.dsn(role))
        monkeypatch.setattr(sys, "argv", ["clonedb", "retention", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        return (ended.value.code, *capsys.readouterr())

    code, out, err = run("clonedb_readonly", "list")
    assert (code, err) == (0, "")
    assert re.search(r"(?m)^deleted_users +30d +off +Users who were deleted", out)
    with switched_on(migrated):
        code, out, err = run(
            "clonedb_dba", "set", "failed_documents", "--keep", "7d", "--on", "--json"
        )
        assert (code, err) == (0, "")
        stored: dict[str, Any] = msgspec.json.decode(out)
        assert stored["name"] == "failed_documents"
        assert (stored["keep_days"], stored["enabled"]) == (7, True)
    for arguments, message in (
        (["set", "audit_logs"], "nothing to set"),
        (["set", "audit_logs", "--keep", "2 years"], "days are written like 730d"),
    ):
        code, out, err = run("clonedb_worker", *arguments)
        assert (code, out) == (2, "")
        assert message in err
