"""Attempts at another's rows, in every table."""

from __future__ import annotations

from contextlib import suppress
from typing import Any
from uuid import UUID

import psycopg
from matrix import relations
from people import SHARING, owned_by
from psycopg import sql

from attempts.scene import READABLE, TABLES, Scene

Refused = psycopg.errors.InsufficientPrivilege


def _seen(scene: Scene, user: UUID | str | None, expected: int) -> bool:
    """Whether more is seen of any table than so many rows, and those of nobody."""
    with scene.session(user) as app:
        for table in READABLE:
            rows = app.execute(f"SELECT t::text FROM clonedb.{table} AS t".encode()).fetchall()
            if len(rows) > expected + (table in SHARING) or scene.is_hers(rows):
                return True
    return False


def read_without_context(scene: Scene) -> bool:
    return _seen(scene, None, 0)


def read_anothers(scene: Scene) -> bool:
    with scene.session(scene.grace) as app:
        for table in READABLE:
            if table != "audit_logs":  # whose rows name nobody
                statement = sql.SQL("SELECT FROM clonedb.{} WHERE {}")
                hers = statement.format(sql.Identifier(table), owned_by(table, scene.ada))
                if app.execute(hers).rowcount:
                    return True
    return _seen(scene, scene.grace, 1)


def read_as_deleted(scene: Scene) -> bool:
    return _seen(scene, scene.cyd, 0)


# What is cached may be read in the context of several users at once.
_READ_FOR_SEVERAL = {
    *("audio_chunk_cache", "embedding_cache", "llm_response_cache", "vector_search_cache"),
    "cache_changes",
}


def read_with_strange_context(scene: Scene) -> bool:
    for context in (
        f"{scene.ada}' OR 'a' = 'a",
        f"{{{scene.grace}}}' OR true --",
        "%",
        "*",
        "' UNION SELECT id FROM clonedb.users --",
    ):
        try:
            if _seen(scene, context, 0):
                return True
        except psycopg.errors.InvalidTextRepresentation:
            pass
    return _seen(scene, "", 0) or _seen(scene, "00000000-0000-0000-0000-000000000000", 0)


def several_users(scene: Scene) -> bool:
    several = f"{scene.grace},{scene.ada}"
    refused = (Refused, psycopg.errors.InvalidTextRepresentation)
    for table in TABLES:
        row, name = scene.row(table, scene.ada), sql.Identifier(table)
        hers = sql.SQL("true") if table == "audit_logs" else owned_by(table, scene.ada)
        columns = [*scene.columns(table, "UPDATE"), *scene.key(table)]
        reads = [] if table in _READ_FOR_SEVERAL else [sql.SQL("SELECT FROM clonedb.{} WHERE {}")]
        statements = [
            *(each.format(name, hers) for each in reads),
            sql.SQL("DELETE FROM clonedb.{} WHERE {}").format(name, hers),
            *(
                sql.SQL("UPDATE clonedb.{0} SET {1} = {1} WHERE {2}").format(
                    name, sql.Identifier(column), hers
                )
                for column in columns
            ),
        ]
        for statement in statements:
            with scene.session(several) as app, suppress(*refused):
                if app.execute(statement).rowcount > 0:
                    return True
        with scene.session(several) as app, suppress(*refused):
            scene.insert(app, table, row)
            return True
    return False


def insert_for_another(scene: Scene) -> bool:
    for table in TABLES:
        with scene.session(scene.grace) as app:
            try:
                scene.insert(app, table, scene.row(table, scene.ada))
            except Refused:
                continue
            return True
    return False


def _changes(scene: Scene, statement: str, table: str, **parts: Any) -> bool:
    """Whether a statement on Ada's row of a table changes any row."""
    composed = sql.SQL(statement).format(  # pyright: ignore[reportArgumentType]
        table=sql.Identifier("clonedb", table),
        # Nobody can name hers in the log, so all of it is tried.
        hers=sql.SQL("true") if table == "audit_logs" else owned_by(table, scene.ada),
        **parts,
    )
    with scene.session(scene.grace) as app:
        try:
            return app.execute(composed).rowcount > 0
        except Refused:
            return False


def update_anothers(scene: Scene) -> bool:
    statement = "UPDATE {table} SET {column} = {column} WHERE {hers}"
    return any(
        _changes(scene, statement, table, column=sql.Identifier(column))
        for table in TABLES
        for column in [*scene.columns(table, "UPDATE"), *scene.key(table)]
    )


def delete_anothers(scene: Scene) -> bool:
    return any(_changes(scene, "DELETE FROM {table} WHERE {hers}", table) for table in TABLES)


def _user_column(table: str) -> sql.Identifier:
    return sql.Identifier({"users": "id", "audit_logs": "subject_ref"}.get(table, "user_id"))


def give_rows_away(scene: Scene) -> bool:
    statement = "UPDATE {table} SET {user} = {ada}"
    return any(
        _changes(scene, statement, table, user=_user_column(table), ada=sql.Literal(scene.ada))
        for table in TABLES
    )


def take_rows(scene: Scene) -> bool:
    statement = "UPDATE {table} SET {user} = {grace} WHERE {hers}"
    return any(
        _changes(scene, statement, table, user=_user_column(table), grace=sql.Literal(scene.grace))
        for table in TABLES
    )


def upsert_on_anothers_key(scene: Scene) -> bool:
    """As hers, and with all but the user of her key as one's own; her rows are compared after."""
    for table in TABLES:
        updatable = [name for name in scene.columns(table, "UPDATE") if name != "user_id"]
        hers = scene.row(table, scene.ada)
        change = f"UPDATE SET {updatable[0]} = excluded.{updatable[0]}" if updatable else "NOTHING"
        tail = f"ON CONFLICT ({', '.join(scene.key(table))}) DO {change}"
        with scene.session(scene.grace) as app:
            try:
                scene.insert(app, table, hers, tail)
                return True
            except Refused:
                app.rollback()
        if table in ("users", "audit_logs"):
            continue  # their keys have no user
        with scene.session(scene.grace) as app:
            try:
                scene.insert(app, table, hers | {"user_id": str(scene.grace)}, tail)
                found = app.execute(
                    sql.SQL("SELECT t::text FROM clonedb.{} AS t").format(sql.Identifier(table))
                ).fetchall()
                if str(scene.ada) in repr(found):
                    return True
            except (Refused, psycopg.errors.ForeignKeyViolation):
                app.rollback()
            except psycopg.errors.UniqueViolation as error:
                if error.diag.constraint_name != "stored_objects_name_is_unique":
                    raise  # Grace's own document has that name too
    return False


def references(scene: Scene) -> list[tuple[str, str, list[str]]]:
    """Each foreign key to a person's row: its name, table, and the columns beyond the user."""
    with scene.session(role="clonedb_superuser") as connection:
        found: list[tuple[str, str, list[str]]] = connection.execute(
            "SELECT k.conname, c.relname, ARRAY(SELECT a.attname FROM pg_attribute AS a "
            "WHERE a.attrelid = k.conrelid AND a.attnum = ANY(k.conkey) AND a.attname <> 'user_id')"
            " FROM pg_constraint AS k INNER JOIN pg_class AS c ON c.oid = k.conrelid "
            "WHERE k.contype = 'f' AND k.conparentid = 0 "
            "AND k.connamespace = 'clonedb'::regnamespace"
        ).fetchall()
    assert {"conversation_turns_session_exists"} <= {name for name, _, _ in found}
    return found


def referring(scene: Scene, table: str, columns: list[str], values: dict[str, Any]) -> str:
    """What comes of a row of Grace's own that refers to these values: the constraint's name."""
    row = scene.row(table, scene.grace)
    # A row of its own in every key, made at the same time as the one that it is a copy of.
    fresh = {
        "id": row.get("id", "")[:-6] + "abcdef" if "id" in row else None,
        "turn_number": 2,
        "name": "another",
        "is_active": False,
        "started_at": row.get("started_at"),
    }
    row |= {name: value for name, value in fresh.items() if name in row}
    row |= {name: values[name] for name in columns}
    with scene.session(scene.grace) as app:
        try:
            scene.insert(app, table, row)
        except psycopg.errors.ForeignKeyViolation as error:
            return str(error.diag.constraint_name)
        except Refused:
            return "refused"
    return "stored"


def refer_to_anothers(scene: Scene) -> bool:
    tried = set()
    for name, table, columns in references(scene):
        if not columns or "owner_id" in columns:
            continue  # the user alone: inserting as another
        outcome = referring(scene, table, columns, scene.row(table, scene.ada))
        if outcome not in (name, "refused"):
            return True
        tried.add((name, outcome))
    assert ("conversation_turns_session_exists",) * 2 in tried
    assert ("conversation_sessions_voice_model_exists",) * 2 in tried
    return False


def merge_and_join(scene: Scene) -> bool:
    ada = scene.ada
    with scene.session(scene.grace) as app:
        found = [
            app.execute(statement.encode()).fetchall()
            for statement in (
                f"SELECT * FROM clonedb.users AS u LEFT JOIN clonedb.users AS o ON o.id = '{ada}'",
                (
                    "SELECT t::text FROM clonedb.users AS u "
                    "LEFT JOIN clonedb.conversation_turns AS t ON t.user_id <> u.id"
                ),
                f"SELECT (SELECT email FROM clonedb.users WHERE id = '{ada}')",
                (
                    "WITH taken AS (INSERT INTO clonedb.knowledge_documents "
                    "(user_id, filename, content_type, size_bytes) "
                    f"SELECT '{scene.grace}', d.filename, d.user_id::text, 1 "
                    "FROM clonedb.knowledge_documents AS d RETURNING *) "
                    "SELECT content_type FROM taken"
                ),
                (
                    "UPDATE clonedb.voice_models AS v SET model_path = o.user_id::text "
                    "FROM clonedb.voice_models AS o RETURNING v.model_path"
                ),
                "DELETE FROM clonedb.llm_response_cache USING clonedb.users AS u RETURNING u::text",
                "SELECT u::text FROM clonedb.users AS u TABLESAMPLE SYSTEM (100)",
                (
                    "SELECT u::text FROM clonedb.users AS u WHERE u.ctid = ANY("
                    "SELECT format('(%s,%s)', b, i)::tid "
                    "FROM generate_series(0, 9) AS b, generate_series(1, 50) AS i)"
                ),
                "SELECT max(u.id::text), min(u.email) FROM clonedb.users AS u",
            )
        ]
        app.execute(
            "MERGE INTO clonedb.voice_models AS v USING clonedb.voice_models AS o "
            "ON v.user_id IS NOT NULL "
            "WHEN MATCHED THEN UPDATE SET model_path = o.user_id::text"
        )
        found.append(app.execute("SELECT v::text FROM clonedb.voice_models AS v").fetchall())
        named = f"'{ada}'" in repr(found)
    return named or scene.is_hers(found)


def merge_blindly(scene: Scene) -> bool:
    """MERGE that names no column of its target needs no right to read it, and meets every row."""
    return scene.allows_any(
        *(
            f"MERGE INTO clonedb.{table} USING (SELECT 1) AS o ON true WHEN MATCHED THEN {action}"
            for table, column in (
                ("voice_models", "model_path"),
                ("knowledge_documents", "filename"),
                ("llm_response_cache", "response"),
                ("users", "name"),
            )
            for action in (f"UPDATE SET {column} = 'x'", "DELETE")
        ),
        user=scene.grace,
    )


def read_a_month(scene: Scene) -> bool:
    months = [each.name for each in relations(scene.database) if each.is_partition]
    assert len(months) > 24
    with scene.session(scene.ada) as app:
        for month in months:
            for verb in ("SELECT FROM clonedb.{}", "DELETE FROM ONLY clonedb.{}"):
                try:
                    app.execute(verb.format(month).encode())
                except Refused:
                    app.rollback()
                else:
                    return True
    return False


def another_by_id(scene: Scene) -> bool:
    with scene.session(scene.grace) as app:
        app.execute("SELECT set_config('clonedb.user_id', %s, true)", [str(scene.ada)])
        return scene.is_hers(app.execute("SELECT u::text FROM clonedb.users AS u").fetchall())
