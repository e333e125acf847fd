"""Setting policies as the tests need them, and putting them back."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from ground import as_superuser

from clonedb.testing import IsolatedDatabase

SET = (
    "UPDATE clonedb.retention_policies SET keep_days = coalesce(%(keep)s, keep_days), "
    "enabled = %(enabled)s WHERE name = %(name)s"
)


@contextmanager
def switched_on(
    database: IsolatedDatabase, *policies: str, keep_days: int | None = None
) -> Iterator[None]:
    """These policies are on for as long as the block lasts, past the audit log."""
    with _set(database, policies, enabled=True, keep_days=keep_days):
        yield


@contextmanager
def switched_off(database: IsolatedDatabase, *policies: str) -> Iterator[None]:
    """These policies are off for as long as the block lasts, past the audit log."""
    with _set(database, policies, enabled=False):
        yield


@contextmanager
def _set(
    database: IsolatedDatabase,
    policies: tuple[str, ...],
    *,
    enabled: bool,
    keep_days: int | None = None,
) -> Iterator[None]:
    with as_superuser(database) as connection:
        before: list[Any] = connection.execute(
            "SELECT keep_days, enabled, name FROM clonedb.retention_policies"
        ).fetchall()
        for policy in policies:
            connection.execute(SET, {"keep": keep_days, "enabled": enabled, "name": policy})
        try:
            yield
        finally:
            for keep, enabled, name in before:
                connection.execute(SET, {"keep": keep, "enabled": enabled, "name": name})
