"""docs/privacy.md is true on this server, and leaves nothing out."""

from __future__ import annotations

from pathlib import Path

from ground import as_superuser

from clonedb.generation.privacy import privacy_of
from clonedb.privacy.classes import MEANINGS
from clonedb.privacy.purposes import PURPOSES
from clonedb.testing import SUPERUSER, IsolatedDatabase

PAGE = Path(__file__).parents[2] / "docs" / "privacy.md"


def test_the_page_is_true_on_this_version(migrated: IsolatedDatabase) -> None:
    page = privacy_of(migrated.dsn(SUPERUSER))
    assert page == PAGE.read_text()
    assert "not classified" not in page
    for meaning in MEANINGS.values():
        assert meaning in page


def test_every_table_of_people_says_why_it_is_kept(migrated: IsolatedDatabase) -> None:
    with as_superuser(migrated) as connection:
        rows = connection.execute("SELECT table_name FROM clonedb.person_tables()").fetchall()
    assert {table for (table,) in rows} == PURPOSES.keys()


def test_a_months_columns_are_classified_and_not_sampled_as_their_tables_are(
    migrated: IsolatedDatabase,
) -> None:
    """Also of a month that is made later."""
    with as_superuser(migrated) as connection:
        connection.execute("SELECT clonedb.create_turn_partitions('2040-01-01', 1)")
        differing = connection.execute(
            "SELECT c.oid::regclass, a.attname FROM pg_inherits AS i "
            "JOIN pg_class AS c ON c.oid = i.inhrelid AND c.relkind = 'r' "
            "JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 "
            "JOIN pg_attribute AS p ON p.attrelid = i.inhparent AND p.attname = a.attname "
            "WHERE p.attstattarget IS DISTINCT FROM a.attstattarget "
            "OR col_description(p.attrelid, p.attnum) "
            "IS DISTINCT FROM col_description(a.attrelid, a.attnum)"
        ).fetchall()
    assert differing == []
