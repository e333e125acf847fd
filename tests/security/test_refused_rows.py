"""What PostgreSQL says, and logs, of a row that it refuses."""

from __future__ import annotations

import psycopg
import pytest

from clonedb.testing import IsolatedDatabase

STORE = "INSERT INTO clonedb.users (email, name, subscription_tier) VALUES (%s, 'a secret', %s)"
SIGN_UP = "SELECT clonedb.sign_up(NULL, %s, 'a secret', NULL, NULL, %s, NULL, NULL)"


@pytest.mark.parametrize(
    ("role", "statement", "known"),
    [("clonedb_worker", STORE, "free"), ("clonedb_app", SIGN_UP, "gpt-4-turbo")],
)
@pytest.mark.parametrize("refused", ["for its key", "by a check"])
def test_nothing_of_a_refused_row_is_told(
    migrated: IsolatedDatabase, role: str, statement: str, known: str, refused: str
) -> None:
    with psycopg.connect(migrated.dsn(role), autocommit=True) as connection:
        connection.execute(statement.encode(), ("ada@example.com", known))
        value = known if refused == "for its key" else "unknown"
        with pytest.raises(psycopg.errors.IntegrityError) as caught:
            connection.execute(statement.encode(), ("ada@example.com", value))
    assert caught.value.diag.constraint_name
    assert caught.value.diag.message_detail is None
    assert "secret" not in str(caught.value)
    assert "ada" not in str(caught.value)
