"""Attempts to mislead what others run, to use what somebody forgot, and to poison caches."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import psycopg
from ground import as_superuser
from matrix import relations
from people import NOBODY, SHARING
from psycopg import sql
from psycopg.types.json import Jsonb

from attempts.scene import Scene
from clonedb import Database
from clonedb.doctor import examine

Connection = psycopg.Connection[tuple[object, ...]]


def own_temporary_table(scene: Scene) -> bool:
    return scene.allows_any(
        "CREATE TEMPORARY TABLE users (id uuid)",
        "CREATE TEMPORARY VIEW users AS SELECT 1",
        "CREATE TEMPORARY SEQUENCE users_id",
    )


def own_view_or_rule(scene: Scene) -> bool:
    return scene.allows_any(
        *(
            f"CREATE {what}"
            for where in ("public", "clonedb")
            for what in (
                f"VIEW {where}.mine AS SELECT * FROM clonedb.users",
                f"MATERIALIZED VIEW {where}.mine AS SELECT * FROM clonedb.users",
                f"TABLE {where}.mine (id uuid)",
                f"TABLE {where}.mine (user_id uuid REFERENCES clonedb.users)",
                f"FUNCTION {where}.mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
                f"OPERATOR {where}.= (FUNCTION = texteq, LEFTARG = text, RIGHTARG = text)",
                f"TYPE {where}.mine AS (id uuid)",
            )
        ),
        "CREATE RULE mine AS ON INSERT TO clonedb.knowledge_documents DO INSTEAD NOTHING",
        "CREATE TRIGGER mine AFTER INSERT ON clonedb.knowledge_documents "
        "FOR EACH ROW EXECUTE FUNCTION suppress_redundant_updates_trigger()",
        "CREATE INDEX ON clonedb.knowledge_documents (lower(filename))",
        "CREATE STATISTICS clonedb.mine ON user_id, filename FROM clonedb.knowledge_documents",
        "CREATE SCHEMA mine",
    )


def _ask_functions(scene: Scene, app: Connection) -> list[object]:
    """What the owner's functions say to Grace."""
    email = f"{scene.grace}@example.com"
    return [
        app.execute("SELECT clonedb.living_user_id()").fetchall(),
        app.execute("SELECT clonedb.living_subject_ref()").fetchall(),
        app.execute("SELECT * FROM clonedb.find_login(%s)", [email]).fetchall(),
        app.execute("SELECT * FROM clonedb.find_login('x@example.com')").fetchall(),
        app.execute("SELECT * FROM clonedb.search_documents('diary', NULL, 10)").fetchall(),
        app.execute("SELECT clonedb.turn_months_ahead(), clonedb.audit_months_ahead()").fetchall(),
        app.execute("SELECT count(*) FROM clonedb.users").fetchall(),
    ]


def _is_misled(scene: Scene, prepare: Callable[[Connection], None]) -> bool:
    with scene.session(scene.grace) as app:
        honest = _ask_functions(scene, app)
    assert str(scene.grace) in repr(honest)
    with scene.session(scene.grace) as app:
        prepare(app)
        return _ask_functions(scene, app) != honest


def shadow_a_definer(scene: Scene) -> bool:
    database = sql.Identifier(scene.database.name)

    def prepare(app: Connection) -> None:
        for table in ("users", "knowledge_documents", "conversation_turns", "pg_class", "pg_proc"):
            source = f"pg_catalog.{table}" if table.startswith("pg_") else f"clonedb.{table}"
            app.execute(f"CREATE TEMPORARY TABLE {table} (LIKE {source})".encode())
        app.execute(
            "INSERT INTO pg_temp.users SELECT p.* FROM jsonb_populate_record(NULL::pg_temp.users, "
            "%s) AS p",
            [Jsonb(scene.row("users", scene.ada) | {"email_key": "x@example.com"})],
        )
        for function in (
            "current_setting(text, boolean) RETURNS text",
            "nullif(text, text) RETURNS text",
            "lower(text) RETURNS text",
            "now() RETURNS text",
        ):
            app.execute(
                f"CREATE FUNCTION pg_temp.{function} LANGUAGE sql "
                f"AS $$SELECT '{scene.ada}'::text$$".encode()
            )
        app.execute("SET LOCAL search_path = pg_temp, pg_catalog")

    with as_superuser(scene.database) as superuser:
        superuser.execute(sql.SQL("GRANT TEMPORARY ON DATABASE {} TO PUBLIC").format(database))
        try:
            return _is_misled(scene, prepare)
        finally:
            superuser.execute(
                sql.SQL("REVOKE TEMPORARY ON DATABASE {} FROM PUBLIC").format(database)
            )


def shadow_by_schema(scene: Scene) -> bool:
    def prepare(app: Connection) -> None:
        app.execute("SET LOCAL search_path = trap, pg_catalog")

    with as_superuser(scene.database) as superuser:
        superuser.execute("CREATE SCHEMA trap")
        superuser.execute("GRANT ALL ON SCHEMA trap TO PUBLIC")
        try:
            for statement in (
                (
                    "CREATE FUNCTION trap.current_setting(text, boolean) RETURNS text LANGUAGE sql "
                    f"AS $$SELECT '{scene.ada}'$$"
                ),
                (
                    "CREATE FUNCTION trap.equals(uuid, uuid) RETURNS boolean LANGUAGE sql "
                    "AS 'SELECT true'"
                ),
                "CREATE OPERATOR trap.= (FUNCTION = trap.equals, LEFTARG = uuid, RIGHTARG = uuid)",
                (
                    "CREATE FUNCTION trap.is_equal(text, text) RETURNS boolean LANGUAGE sql "
                    "AS 'SELECT true'"
                ),
                (
                    "CREATE OPERATOR trap.= "
                    "(FUNCTION = trap.is_equal, LEFTARG = text, RIGHTARG = text)"
                ),
                "CREATE FUNCTION trap.lower(text) RETURNS text LANGUAGE sql AS $$SELECT ''$$",
                "CREATE TABLE trap.users (LIKE clonedb.users)",
                "CREATE TABLE trap.knowledge_documents (LIKE clonedb.knowledge_documents)",
                "GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA trap TO PUBLIC",
            ):
                superuser.execute(statement.encode())
            return _is_misled(scene, prepare)
        finally:
            superuser.execute("DROP SCHEMA trap CASCADE")


@contextmanager
def _planted(scene: Scene, make: str, drop: str, *checks: str) -> Iterator[None]:
    """What the owner has made; the doctor has to find it, where it can."""
    with as_superuser(scene.database) as superuser:
        superuser.execute(make.encode())
        try:
            found = {each.check for each in examine(scene.database.dsn()).findings}
            assert found >= set(checks)
            yield
        finally:
            superuser.execute(drop.encode())


def _is_read(scene: Scene, statement: str) -> bool:
    with scene.session(scene.grace) as app:
        return scene.is_hers(app.execute(statement.encode()).fetchall())


def owners_view(scene: Scene) -> bool:
    with _planted(
        scene,
        "SET ROLE clonedb_owner; CREATE VIEW clonedb.planted AS SELECT id FROM clonedb.users; "
        "GRANT SELECT ON clonedb.planted TO clonedb_app; RESET ROLE",
        "DROP VIEW clonedb.planted",
        "view_not_invoker",
    ):
        leaks = _is_read(scene, "SELECT id FROM clonedb.planted")
        with as_superuser(scene.database) as superuser:
            superuser.execute("ALTER VIEW clonedb.planted SET (security_invoker = true)")
        assert not _is_read(scene, "SELECT id FROM clonedb.planted"), "the remedy mends it"
    return leaks


def owners_function(scene: Scene) -> bool:
    with _planted(
        scene,
        "SET ROLE clonedb_owner; CREATE FUNCTION clonedb.planted() RETURNS SETOF uuid "
        "LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp "
        "AS 'SELECT u.id FROM clonedb.users AS u'; "
        "GRANT EXECUTE ON FUNCTION clonedb.planted TO clonedb_app; RESET ROLE",
        "DROP FUNCTION clonedb.planted",
    ):
        return _is_read(scene, "SELECT clonedb.planted()")


def unprotected_month(scene: Scene) -> bool:
    month = next(
        each
        for each in relations(scene.database)
        if each.name.startswith("conv") and each.is_partition
    )
    with as_superuser(scene.database) as superuser:
        now = superuser.execute(
            "SELECT t.tableoid::regclass::text FROM clonedb.conversation_turns AS t LIMIT 1"
        ).fetchone()
    assert now is not None
    assert month.parent == "conversation_turns"
    with _planted(
        scene,
        f"ALTER TABLE {now[0]} DISABLE ROW LEVEL SECURITY; GRANT SELECT ON {now[0]} TO clonedb_app",
        f"ALTER TABLE {now[0]} ENABLE ROW LEVEL SECURITY; "
        f"REVOKE SELECT ON {now[0]} FROM clonedb_app",
        "rls_off",
        "partition_granted",
    ):
        return _is_read(scene, f"SELECT t::text FROM {now[0]} AS t")


def poison_shared_cache(scene: Scene) -> bool:
    for table in SHARING:
        shared = scene.row(table, NOBODY)
        with scene.session(scene.grace) as app:
            for tail in ("", "ON CONFLICT DO NOTHING"):
                try:
                    scene.insert(app, table, shared, tail)
                    return True
                except psycopg.errors.InsufficientPrivilege:
                    app.rollback()
        with scene.session(scene.grace) as app:
            name = sql.Identifier("clonedb", table)
            of_all = sql.Literal(NOBODY)
            for statement in (
                "UPDATE {} SET created_at = now() WHERE user_id = {}",
                "DELETE FROM {} WHERE user_id = {}",
            ):
                if app.execute(sql.SQL(statement).format(name, of_all)).rowcount:
                    return True
    return False


async def poison_anothers_cache(scene: Scene) -> bool:
    hers = scene.row("llm_response_cache", scene.ada)
    key = bytes.fromhex(hers["key"].removeprefix("\\x"))
    async with Database(scene.database.dsn()) as database:
        mine = database.as_user(scene.grace).caches.llm_response
        await mine.delete(key)
        found = await mine.get(key)  # what is left for all, which has the same key here
        assert found is not None
        await mine.put(key, response="poison", provider="gpt-4-turbo")
        await mine.delete(key)
    return scene.row("llm_response_cache", scene.ada) != hers
