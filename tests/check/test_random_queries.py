"""No column that is proved to be never NULL is NULL, whatever the statement and the rows."""

from __future__ import annotations

import os
from collections.abc import Iterator

import psycopg
import pytest
from chance import SCHEMA, Chance
from test_nullability import Prover

from clonedb.check.scratch import SUPERUSER, Scratch

STATEMENTS = 200
FILLINGS = 3


@pytest.fixture(scope="module")
def prover(scratch: Scratch) -> Iterator[Prover]:
    name = f"chance_{os.getpid()}"
    server = scratch.server
    server.create_database(name)
    with psycopg.connect(server.dsn(SUPERUSER, name), autocommit=True) as connection:
        connection.execute(SCHEMA.encode())
    connections = [scratch.connect(database=name) for _ in range(3)]
    yield Prover(connections)
    for each in connections:
        each.close()
    server.drop_database(name)


def test_what_is_proved_is_true_of_any_rows(prover: Prover) -> None:
    proved = shown = 0
    for seed in range(STATEMENTS):
        chance = Chance(seed)
        text = chance.statement()
        never = prover.proved(text)
        nulls: set[int] = set()
        for _ in range(FILLINGS):
            prover.connection.execute(b"BEGIN")
            try:
                prover.connection.execute(chance.rows().encode())
                for row in prover.connection.execute(text.encode()).fetchall():
                    nulls |= {number for number, value in enumerate(row) if value is None}
            except (psycopg.errors.IntegrityError, psycopg.errors.CardinalityViolation):
                pass  # these rows break a key or a CHECK
            finally:
                prover.connection.execute(b"ROLLBACK")
        claimed = {number for number, letter in enumerate(never) if letter == "y"}
        assert not claimed & nulls, f"seed {seed}: {never}, {nulls}: {text}"
        proved, shown = proved + len(claimed), shown + len(nulls)
    # Neither is all proved nor nothing, so that the statements say something.
    assert proved > STATEMENTS / 3
    assert shown > STATEMENTS / 3
