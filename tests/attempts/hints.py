"""Attempts to learn of another's rows without reading them."""

from __future__ import annotations

import base64
from typing import Any

import msgspec
import psycopg
from ground import as_superuser

from attempts.rows import references, referring
from attempts.scene import TABLES, Scene
from clonedb import Database, UserPatch, new_id

# Unique for all: an address can be had once, an id and a reference are random.
UNIQUE_FOR_ALL = {
    *("users_pkey", "users_subject_ref_is_unique", "users_email_key_living", "audit_logs_pkey"),
}


def _answer(scene: Scene, table: str, row: dict[str, Any], tail: str = "") -> tuple[Any, ...]:
    """Everything that PostgreSQL says of an insert, as Grace."""
    with scene.session(scene.grace) as app:
        try:
            return ("stored", scene.insert(app, table, row, tail))
        except psycopg.Error as error:
            diagnostic = error.diag
            return (
                error.sqlstate,
                diagnostic.message_primary,
                diagnostic.message_detail,
                diagnostic.message_hint,
                diagnostic.constraint_name,
                diagnostic.context,
            )


def conflict_tells(scene: Scene) -> bool:
    """Whether a key of Ada's that is taken is answered otherwise than one that is free."""
    with as_superuser(scene.database) as connection:
        for_all = connection.execute(
            "SELECT c.relname FROM pg_index AS i INNER JOIN pg_class AS c ON c.oid = i.indexrelid "
            "INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0] "
            "WHERE i.indisunique AND NOT c.relispartition AND a.attname <> 'user_id' "
            "AND i.indrelid = ANY(%s::regclass[])",
            [[f"clonedb.{table}" for table in TABLES]],
        ).fetchall()
    assert {name for (name,) in for_all} == UNIQUE_FOR_ALL
    for table in TABLES:
        key = scene.key(table)
        hers = scene.row(table, scene.ada)
        free = dict(hers)
        for name in {*key, "name"} - {"user_id"}:
            if name in free:
                free[name] = _another(free[name])
        for tail in ("", "ON CONFLICT DO NOTHING"):
            if _answer(scene, table, hers, tail) != _answer(scene, table, free, tail):
                return True
    return False


def _another(value: Any) -> Any:
    """A value of the same shape that is not taken."""
    if not isinstance(value, str):
        return value
    if len(value) == 36 and value.count("-") == 4:
        return value[:-6] + "abcdef"
    if value.startswith("\\x"):
        return "\\x" + "ab" * 32
    if value.isdecimal():
        return f"{value}7"
    if value[4:5] == "-":
        return "2026-02-03" + value[10:]
    return f"{value}x"


def reference_tells(scene: Scene) -> bool:
    for _, table, columns in references(scene):
        if not columns or "owner_id" in columns:
            continue
        hers = scene.row(table, scene.ada)
        free = {name: _another(hers[name]) if "id" in name else hers[name] for name in columns}
        if referring(scene, table, columns, hers) != referring(scene, table, columns, free):
            return True
    return False


def refused_row_tells(scene: Scene) -> bool:
    """What an error says of Ada's row, where one is met: her address is the one that can be."""
    said = []
    for statement in (
        (
            f"SELECT clonedb.sign_up(NULL, '{scene.ada}@example.com', NULL, NULL, NULL, NULL, "
            "NULL, NULL)"
        ),
        f"UPDATE clonedb.users SET email = '{scene.ada}@example.com' WHERE id = '{scene.grace}'",
    ):
        with scene.session(scene.grace) as app:
            try:
                app.execute(statement.encode())
                said.append("stored")
            except psycopg.errors.UniqueViolation as error:
                said.append(f"{error} {error.diag.message_detail}")
    assert "stored" not in said
    return any("@" in line or str(scene.ada) in line for line in said)


def leaky_condition(scene: Scene) -> bool:
    """Conditions that fail on a value that they meet; nothing that Grace sees has such a value."""
    for statement in (
        "SELECT FROM clonedb.users WHERE email::integer = 1",
        "SELECT FROM clonedb.users WHERE (email || '{')::jsonb IS NOT NULL",
        "SELECT FROM clonedb.users WHERE 1 / (length(email) - length(email)) = 1",
        "SELECT FROM clonedb.conversation_turns WHERE user_transcript::numeric > 0",
        "SELECT FROM clonedb.knowledge_documents AS d WHERE d.filename::inet IS NULL",
        "SELECT FROM clonedb.users AS u WHERE set_config('clonedb.told', u.email, false) = 'x'",
        "SELECT FROM clonedb.users AS u ORDER BY u.email::integer",
        "SELECT FROM clonedb.users AS u GROUP BY u.email::integer",
        "DELETE FROM clonedb.voice_models AS v WHERE v.model_path::integer = 1",
        "UPDATE clonedb.face_models AS f SET is_active = true WHERE f.model_path::date IS NULL",
    ):
        # Without a user every row is hidden: whatever fails has met one.
        with scene.session() as app:
            app.execute("SELECT set_config('enable_indexscan', 'off', true)")
            try:
                app.execute(statement.encode())
            except psycopg.DataError:
                return True
            told = app.execute("SELECT current_setting('clonedb.told', true)").fetchone()
            if told not in ((None,), ("",)):
                return True
    return False


LEAKY = (
    "CREATE FUNCTION {}.tell(text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 "
    "AS $$BEGIN RAISE NOTICE '%', $1; RETURN true; END$$"
)


def leaky_function(scene: Scene) -> bool:
    """Of one's own, which cannot be made; and one that somebody made, which is asked too late."""
    made = scene.allows_any(
        LEAKY.format("public"), LEAKY.format("clonedb"), LEAKY.format("pg_temp")
    )
    with as_superuser(scene.database) as superuser:
        superuser.execute("CREATE SCHEMA trap")
        superuser.execute("GRANT USAGE ON SCHEMA trap TO PUBLIC")
        superuser.execute(LEAKY.format("trap").encode())
        superuser.execute("GRANT EXECUTE ON FUNCTION trap.tell TO PUBLIC")
        heard: list[str] = []
        try:
            with scene.session(scene.grace) as app:
                app.add_notice_handler(lambda notice: heard.append(notice.message_primary or ""))
                app.execute("SELECT FROM clonedb.users AS u WHERE trap.tell(u.email)")
                app.execute("SELECT FROM clonedb.conversation_turns AS t WHERE trap.tell(t::text)")
                app.execute(
                    "UPDATE clonedb.voice_models AS v SET metadata = '{}' WHERE trap.tell(v::text)"
                )
        finally:
            superuser.execute("DROP SCHEMA trap CASCADE")
    assert str(scene.grace) in "".join(heard)
    return made or scene.is_hers(heard)


def statistics_of_columns(scene: Scene) -> bool:
    with as_superuser(scene.database) as superuser:
        superuser.execute("ANALYZE clonedb.users, clonedb.conversation_turns")
    with scene.session(scene.grace) as app:
        found = app.execute(
            "SELECT s.tablename, s.most_common_vals::text, s.histogram_bounds::text "
            "FROM pg_stats AS s WHERE s.schemaname = 'clonedb' AND s.tablename = ANY(%s)",
            [list(TABLES)],
        ).fetchall()
    return bool(found) or scene.allows_any(
        "SELECT stavalues1 FROM pg_statistic", "SELECT * FROM pg_statistic_ext_data"
    )


async def others_statements(scene: Scene) -> bool:
    secret = f"whisper {new_id()}"
    async with Database(scene.database.dsn("clonedb_app")) as database:
        user = database.as_user(scene.grace)
        await user.users.update(scene.grace, UserPatch(name=secret))
        async with user.transaction() as tx:
            await tx.users.update(scene.grace, UserPatch(name=f"{secret} again"))
            with scene.session() as app:
                seen = app.execute("SELECT query FROM pg_stat_activity").fetchall()
    assert "users.update" in repr(seen)
    return secret in repr(seen)


async def notification_names(scene: Scene) -> bool:
    dsn = scene.database.dsn("clonedb_readonly")
    with psycopg.connect(dsn, autocommit=True) as listener:
        listener.execute("LISTEN clonedb_caches")
        async with Database(scene.database.dsn()) as database:
            caches = database.as_user(scene.grace).caches
            await caches.llm_response.put(
                b"k" * 32, response="a secret", provider="gpt-4-turbo", tags=["a-tag"]
            )
            await caches.invalidate_by_tag("a-tag")
        heard = [each.payload for each in listener.notifies(timeout=5, stop_after=1)]
    assert heard
    return any(len(payload) > 10 or str(scene.grace)[:4] in payload for payload in heard)


async def cursor_forged(scene: Scene) -> bool:
    async with Database(scene.database.dsn("clonedb_app")) as database:
        sessions = database.as_user(scene.grace).conversation_sessions
        hers = scene.row("conversation_sessions", scene.ada)
        position = [
            "conversation_sessions.find_many",
            "newest",
            "2999-01-01T00:00:00Z",
            hers["id"],
        ]
        cursor = base64.urlsafe_b64encode(msgspec.json.encode(position)).rstrip(b"=").decode()
        page = await sessions.find_many(cursor=cursor, include_deleted=True)
    assert page.items, "the cursor was understood, and shows one's own"
    return scene.is_hers(page)


async def account_exists(scene: Scene) -> bool:
    async with Database(scene.database.dsn("clonedb_app")) as database:
        login = await database.users.find_login(f"{scene.ada}@example.com")
    return login is not None and login.id == scene.ada


def rows_are_counted(scene: Scene) -> bool:
    with as_superuser(scene.database) as superuser:
        superuser.execute("ANALYZE clonedb.users")
    with scene.session(scene.grace) as app:
        estimated = app.execute(
            "SELECT reltuples FROM pg_class WHERE oid = 'clonedb.users'::regclass"
        ).fetchone()
        app.execute(
            "SELECT set_config('enable_indexscan', 'off', true), "
            "set_config('enable_bitmapscan', 'off', true)"
        )
        plan = app.execute("EXPLAIN (ANALYZE, TIMING OFF) SELECT FROM clonedb.users").fetchall()
        # A MERGE that names no column of its target meets every row, if it does nothing with it.
        app.execute("SELECT set_config('clonedb.met', '', true)")
        app.execute(
            "MERGE INTO clonedb.users USING (SELECT 1) AS o ON true WHEN MATCHED AND "
            "set_config('clonedb.met', current_setting('clonedb.met') || 'x', true) IS NULL "
            "THEN UPDATE SET name = 'never done'"
        )
        met = app.execute("SELECT current_setting('clonedb.met')").fetchone()
    return (estimated, met) == ((3.0,), ("xxx",)) and "Rows Removed by Filter: 2" in repr(plan)


def roles_are_listed(scene: Scene) -> bool:
    with scene.session() as app:
        found = app.execute(
            "SELECT r.rolname FROM pg_roles AS r UNION SELECT a.usename FROM pg_stat_activity AS a"
        ).fetchall()
    return {("clonedb_worker",), ("clonedb_superuser",)} <= set(found)


def id_tells_time(scene: Scene) -> bool:
    with scene.session() as app:
        return app.execute(
            "SELECT clonedb.uuid_v7_time(%s) BETWEEN now() - interval '1 hour' AND now()",
            [scene.ada],
        ).fetchone() == (True,)


def caches_are_watched(scene: Scene) -> bool:
    with psycopg.connect(scene.database.dsn("clonedb_readonly"), autocommit=True) as listener:
        listener.execute("LISTEN clonedb_caches")
        with psycopg.connect(scene.database.dsn("clonedb_app"), autocommit=True) as app:
            row = app.execute(
                "SELECT clonedb.cache_notice(%s, '{embedding}')", [scene.ada]
            ).fetchone()
            assert row is not None
            app.execute("SELECT pg_notify('clonedb_caches', %s)", [row[0]])
        heard = [each.payload for each in listener.notifies(timeout=5, stop_after=1)]
    return heard == [row[0]]
