"""What every login can do in truth, tried, and compared with what is declared."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import psycopg
from declared_rights import (
    FUNCTIONS,
    MIGRATOR,
    OF_A_MONTH,
    ROLES,
    TABLES,
    WITHOUT_POLICIES,
    Rights,
)
from ground import as_superuser
from psycopg import sql

from clonedb.testing import IsolatedDatabase

# A login that is a member of nothing.
STRANGER: Final = "clonedb_test_stranger"

_RELATIONS: Final = """
    SELECT
        c.oid,
        n.nspname,
        c.relname,
        c.relkind::text,
        c.relispartition,
        c.relrowsecurity AND c.relforcerowsecurity,
        (SELECT p.relname FROM pg_inherits AS i INNER JOIN pg_class AS p ON p.oid = i.inhparent
         WHERE i.inhrelid = c.oid),
        ARRAY(SELECT a.attname FROM pg_attribute AS a WHERE a.attrelid = c.oid AND a.attnum > 0
              AND NOT a.attisdropped AND a.attgenerated = '' AND a.attidentity <> 'a')
    FROM pg_class AS c
    INNER JOIN pg_namespace AS n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('clonedb', 'public') AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND (%(only)s::text IS NULL OR c.relname LIKE %(only)s)
    ORDER BY n.nspname, c.relname
"""


class Relation(NamedTuple):
    """A table, month, view or sequence of the catalogue."""

    oid: int
    schema: str
    name: str
    kind: str
    is_partition: bool
    is_protected: bool
    parent: str | None
    writable: list[str]

    @property
    def label(self) -> str:
        return self.name if self.schema == "clonedb" else f"{self.schema}.{self.name}"

    @property
    def identifier(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def rights(self) -> Rights | None:
        """What is declared, or None."""
        if self.is_partition:
            return OF_A_MONTH | MIGRATOR if self.parent in TABLES else None
        return TABLES[self.label] | MIGRATOR if self.label in TABLES else None


def relations(database: IsolatedDatabase, only: str | None = None) -> list[Relation]:
    """What the catalogue has, or of it what is named like a pattern."""
    with as_superuser(database) as connection:
        return [Relation(*row) for row in connection.execute(_RELATIONS, {"only": only})]


def login_of(role: str) -> str:
    """The login that a role of the declaration is."""
    return STRANGER if role == "stranger" else f"clonedb_{role}"


def make_stranger(database: IsolatedDatabase) -> None:
    """A login of the server that nobody has given anything."""
    with as_superuser(database) as connection:
        if connection.execute("SELECT to_regrole(%s)", [STRANGER]).fetchone() == (None,):
            connection.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(STRANGER)))


def drop_stranger(database: IsolatedDatabase) -> None:
    """Leave the server's roles as they were."""
    with as_superuser(database) as connection:
        connection.execute(sql.SQL("DROP ROLE IF EXISTS {}").format(sql.Identifier(STRANGER)))


def differences(database: IsolatedDatabase, only: str | None = None) -> list[str]:
    """What is otherwise than declared; `only` looks at relations and functions of that name."""
    found = list(relations(database, only))
    lines = [f"{each.label} is not declared" for each in found if each.rights is None]
    lines += [
        f"{each.label} is without forced row-level security"
        for each in found
        if not each.is_protected
        and each.kind in "rp"
        and each.label not in WITHOUT_POLICIES
        and (each.parent or "") not in WITHOUT_POLICIES
    ]
    for role in ROLES:
        with psycopg.connect(database.dsn(login_of(role)), autocommit=True) as connection:
            for relation in found:
                expected = _expected(relation, (relation.rights or MIGRATOR).get(role, ""))
                for verb, outcome in expected.items():
                    real = _try(connection, relation, verb)
                    if real != outcome:
                        lines.append(f"{role}: {verb} on {relation.label} is {real}, not {outcome}")
    return lines + list(_functions(database, only))


def _expected(relation: Relation, rights: str) -> dict[str, str]:
    """The outcome of each verb under rights such as `SIu`."""
    if relation.kind == "S":
        rights = "" if rights != "owns" else "SU"
        return {"nextval": "allowed" if rights else "refused"}
    if rights == "owns":
        rights = "SIUDTR"
    may = {
        verb: "allowed" if letter in rights else "refused"
        for verb, letter in (
            ("SELECT", "S"),
            ("COPY TO", "S"),
            ("INSERT", "I"),
            ("UPDATE", "U"),
            ("DELETE", "D"),
            ("TRUNCATE", "T"),
            ("REFERENCES", "R"),
        )
    }
    for verb, letter in (("SELECT", "S"), ("INSERT", "I"), ("UPDATE", "U")):
        some = letter in rights or letter.lower() in rights
        may[f"{verb} of some columns"] = "allowed" if some else "refused"
    may["LOCK"] = "allowed" if {*"UDT"} & {*rights} else "refused"
    # PostgreSQL copies into no table whose policies would have to be asked.
    copied = "unsupported" if relation.is_protected else "allowed"
    may["COPY FROM"] = copied if "I" in rights else "refused"
    if relation.kind in "vmf":
        del may["LOCK"], may["COPY FROM"], may["TRUNCATE"]
    return may


def _try(connection: psycopg.Connection[Any], relation: Relation, verb: str) -> str:
    """What becomes of a statement that would have no effect."""
    if verb == "REFERENCES" or verb.endswith("of some columns"):
        return _look(connection, relation, verb.split()[0])
    statement = _STATEMENTS[verb].format(
        table=relation.identifier,
        columns=sql.SQL(", ").join(map(sql.Identifier, relation.writable)),
        nulls=sql.SQL(", ").join([sql.SQL("NULL")] * len(relation.writable)),
        assignments=sql.SQL(", ").join(
            sql.SQL("{} = NULL").format(sql.Identifier(name)) for name in relation.writable
        ),
        name=sql.Literal(f"{relation.schema}.{relation.name}"),
    )
    try:
        if verb.startswith("COPY"):
            with connection.cursor().copy(statement) as copy:
                if verb == "COPY TO":
                    copy.read()
        elif verb in ("TRUNCATE", "LOCK"):
            with connection.transaction(force_rollback=True):
                connection.execute(statement)
        else:
            connection.execute(statement)
    except psycopg.errors.InsufficientPrivilege:
        return "refused"
    except psycopg.errors.FeatureNotSupported:
        # It would have been truncated, if nothing referred to it.
        return "allowed" if verb == "TRUNCATE" else "unsupported"
    return "allowed"


def _look(connection: psycopg.Connection[Any], relation: Relation, privilege: str) -> str:
    """Whether the login has a right on some column; by number, since a name takes rights too."""
    row = connection.execute(
        "SELECT has_any_column_privilege(%s::oid, %s)", [relation.oid, privilege]
    ).fetchone()
    return "allowed" if row == (True,) else "refused"


_STATEMENTS: Final = {
    "SELECT": sql.SQL("SELECT * FROM {table} LIMIT 0"),
    "COPY TO": sql.SQL("COPY (SELECT * FROM {table} LIMIT 0) TO STDOUT"),
    "INSERT": sql.SQL("INSERT INTO {table} ({columns}) SELECT {nulls} WHERE false"),
    "UPDATE": sql.SQL("UPDATE {table} SET {assignments} WHERE false"),
    "DELETE": sql.SQL("DELETE FROM {table} WHERE false"),
    "TRUNCATE": sql.SQL("TRUNCATE {table}"),
    "LOCK": sql.SQL("LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE"),
    "COPY FROM": sql.SQL("COPY {table} ({columns}) FROM STDIN"),
    "nextval": sql.SQL("SELECT nextval({name})"),
}


def _functions(database: IsolatedDatabase, only: str | None) -> Iterator[str]:
    """Functions that are not declared, or that others may execute than is declared."""
    with as_superuser(database) as connection:
        rows = connection.execute(
            """
            SELECT f.proname, r.role, has_function_privilege(r.login, f.oid, 'EXECUTE')
            FROM pg_proc AS f
            CROSS JOIN unnest(%s::text[], %s::text[]) AS r (role, login)
            WHERE f.pronamespace IN ('clonedb'::regnamespace, 'public'::regnamespace)
                AND (%s::text IS NULL OR f.proname LIKE %s)
            """,
            [list(ROLES), [login_of(role) for role in ROLES], only, only],
        ).fetchall()
    for name in sorted({name for name, _, _ in rows} - FUNCTIONS.keys()):
        yield f"{name}() is not declared"
    for name, role, may in rows:
        if may != (role == "migrator" or role in FUNCTIONS.get(name, ())):
            yield f"{role} {'may' if may else 'may not'} execute {name}()"
