"""Signing up and finding a login: what the app may do before anybody is known."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import UUID

import psycopg
import pytest
from psycopg.errors import CheckViolation, InsufficientPrivilege, UniqueViolation

from clonedb import new_id

Connection = psycopg.Connection[Any]


@pytest.fixture
def app(migrated: Any) -> Iterator[Connection]:
    with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
        yield connection


@pytest.fixture
def superuser(migrated: Any) -> Iterator[Connection]:
    with psycopg.connect(migrated.dsn("clonedb_superuser"), autocommit=True) as connection:
        yield connection


def sign_up(
    connection: Connection, email: str, id: UUID | None = None, name: str | None = None
) -> tuple[UUID, str, str | None, str]:
    row: tuple[UUID, str, str | None, str] | None = connection.execute(
        """
        SELECT u.id, u.email, u.name, u.subscription_tier
        FROM clonedb.sign_up(%s, %s, %s, NULL, NULL, NULL, NULL, NULL) AS u
        """,
        (id, email, name),
    ).fetchone()
    assert row is not None
    return row


def test_a_new_user_is_of_the_free_tier(app: Connection, superuser: Connection) -> None:
    id, email, name, tier = sign_up(app, "Ada@example.com", name="Ada")
    assert (email, name, tier) == ("Ada@example.com", "Ada", "free")
    stored = superuser.execute(
        "SELECT id, email_key, preferred_llm_provider, settings FROM clonedb.users"
    ).fetchall()
    assert stored == [(id, "ada@example.com", "gpt-4-turbo", {})]


def test_a_repeat_returns_the_stored_row_and_changes_nothing(app: Connection) -> None:
    id = new_id()
    first = sign_up(app, "ada@example.com", id, "Ada")
    assert sign_up(app, "ada@example.com", id, "Somebody else") == first


def test_an_id_does_not_reveal_whose_it_is(app: Connection, superuser: Connection) -> None:
    id = new_id()
    sign_up(app, "ada@example.com", id, "Ada")
    with pytest.raises(UniqueViolation) as refusal:
        sign_up(app, "mallory@example.com", id, "Mallory")
    assert refusal.value.diag.constraint_name == "users_pkey"
    assert "ada" not in str(refusal.value).lower()
    assert superuser.execute("SELECT email, name FROM clonedb.users").fetchall() == [
        ("ada@example.com", "Ada")
    ]


def test_a_deleted_user_is_neither_revealed_nor_revived(
    app: Connection, superuser: Connection
) -> None:
    id, *_ = sign_up(app, "ada@example.com")
    superuser.execute("UPDATE clonedb.users SET deleted_at = now()")
    with pytest.raises(UniqueViolation):
        sign_up(app, "ada@example.com", id)
    assert superuser.execute("SELECT deleted_at IS NULL FROM clonedb.users").fetchall() == [
        (False,)
    ]


def test_the_address_of_a_deleted_user_is_free_again(
    app: Connection, superuser: Connection
) -> None:
    first, *_ = sign_up(app, "ada@example.com")
    superuser.execute("UPDATE clonedb.users SET deleted_at = now()")
    second, *_ = sign_up(app, "ada@example.com")
    assert first != second


def test_an_address_in_another_case_is_the_same_address(app: Connection) -> None:
    sign_up(app, "Ada@Example.com")
    with pytest.raises(UniqueViolation) as refusal:
        sign_up(app, "aDA@example.COM")
    assert refusal.value.diag.constraint_name == "users_email_key_living"


def test_racing_repeats_all_get_the_row(migrated: Any) -> None:
    id = new_id()

    def attempt(_: int) -> tuple[UUID, str, str | None, str]:
        with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
            return sign_up(connection, "ada@example.com", id, "Ada")

    with ThreadPoolExecutor(8) as callers:
        rows = set(callers.map(attempt, range(32)))
    assert rows == {(id, "ada@example.com", "Ada", "free")}


def test_racing_strangers_with_one_address_make_one_user(
    migrated: Any, superuser: Connection
) -> None:
    def attempt(_: int) -> str | None:
        with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as connection:
            try:
                sign_up(connection, "ada@example.com")
            except UniqueViolation as refusal:
                return refusal.diag.constraint_name
        return None

    with ThreadPoolExecutor(8) as callers:
        outcomes = sorted(callers.map(attempt, range(16)), key=str)
    assert outcomes == [None] + ["users_email_key_living"] * 15
    assert superuser.execute("SELECT count(*) FROM clonedb.users").fetchone() == (1,)


@pytest.mark.parametrize("email", ["", "@", "a", "@example.com", " ada@example.com", "x@" * 200])
def test_an_implausible_address_is_refused(app: Connection, email: str) -> None:
    with pytest.raises(CheckViolation) as refusal:
        sign_up(app, email)
    assert refusal.value.diag.constraint_name == "users_email_is_plausible"


def test_an_id_of_another_version_is_refused(app: Connection) -> None:
    with pytest.raises(CheckViolation) as refusal:
        sign_up(app, "ada@example.com", UUID("00000000-0000-4000-8000-000000000000"))
    assert refusal.value.diag.constraint_name == "users_id_is_uuid_v7"


def test_a_login_is_found_by_its_address_in_any_case(
    app: Connection, superuser: Connection
) -> None:
    id, *_ = sign_up(app, "Ada@example.com")

    def find(email: str) -> list[Any]:
        return app.execute(
            "SELECT id, subscription_tier FROM clonedb.find_login(%s)", (email,)
        ).fetchall()

    assert find("ADA@EXAMPLE.COM") == [(id, "free")]
    assert find("grace@example.com") == []
    superuser.execute("UPDATE clonedb.users SET deleted_at = now()")
    assert find("ada@example.com") == []


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO clonedb.users (email) VALUES ('ada@example.com')",
        "UPDATE clonedb.users SET subscription_tier = 'enterprise'",
        "UPDATE clonedb.users SET subject_ref = gen_random_uuid()",
        "UPDATE clonedb.users SET id = clonedb.uuid_v7()",
    ],
)
def test_the_app_writes_no_user_but_by_signing_up(app: Connection, statement: str) -> None:
    with pytest.raises(InsufficientPrivilege):
        app.execute(statement.encode())


def test_a_temporary_table_cannot_stand_in_for_the_users(
    migrated: Any, superuser: Connection
) -> None:
    """Even where an operator gave TEMPORARY back: the functions look for theirs in clonedb."""
    superuser.execute(
        f"GRANT TEMPORARY ON DATABASE {superuser.info.dbname} TO clonedb_app".encode()
    )
    try:
        with psycopg.connect(migrated.dsn("clonedb_app"), autocommit=True) as app:
            app.execute("CREATE TEMPORARY TABLE users (id uuid, email_key text)")
            app.execute("CREATE TEMPORARY TABLE pg_class (oid oid, relname text)")
            app.execute("SET search_path = pg_temp, clonedb, public")
            id, *_ = sign_up(app, "ada@example.com")
            app.execute("SELECT set_config('clonedb.user_id', %s, false)", (str(id),))
            assert app.execute("SELECT clonedb.living_user_id()").fetchone() == (id,)
    finally:
        superuser.execute(
            f"REVOKE TEMPORARY ON DATABASE {superuser.info.dbname} FROM clonedb_app".encode()
        )
