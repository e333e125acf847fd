"""Attempts at more rights than a login has, and at what it can do to others with its own."""

from __future__ import annotations

import psycopg
from declared_rights import TABLES
from ground import as_superuser
from matrix import differences

from attempts.scene import Scene
from clonedb.migration.lock import _KEY

ROLES = ("owner", "migrator", "worker", "readonly", "backup", "dba", "superuser")
OTHERS = (*(f"clonedb_{role}" for role in ROLES), "pg_read_all_data", "pg_signal_backend")


def set_role(scene: Scene) -> bool:
    return scene.allows_any(
        *(f"SET ROLE {role}" for role in OTHERS),
        *(f"SELECT set_config('role', '{role}', false)" for role in OTHERS),
    )


def set_session_authorization(scene: Scene) -> bool:
    return scene.allows_any(*(f"SET SESSION AUTHORIZATION {role}" for role in OTHERS))


def row_security_off(scene: Scene) -> bool:
    found = [
        scene.allows(f"SET LOCAL row_security = off; SELECT FROM clonedb.{table}", user=scene.grace)
        for table in ("users", "conversation_turns", "llm_response_cache")
    ]
    return any(found)


def replica_role(scene: Scene) -> bool:
    return scene.allows_any("SET session_replication_role = replica")


def drop_protection(scene: Scene) -> bool:
    return scene.allows_any(
        *(
            f"ALTER TABLE clonedb.{table} {change}"
            for table in TABLES
            if not table.startswith("public")
            for change in (
                "DISABLE ROW LEVEL SECURITY",
                "NO FORCE ROW LEVEL SECURITY",
                "OWNER TO clonedb_app",
            )
        ),
        "DROP POLICY own_rows ON clonedb.users",
        "ALTER POLICY own_rows ON clonedb.users USING (true)",
        "CREATE POLICY mine ON clonedb.users TO clonedb_app USING (true)",
        "SELECT clonedb.protect_user_table('clonedb.users')",
        "ALTER SCHEMA clonedb OWNER TO clonedb_app",
        "DROP TABLE clonedb.audit_logs CASCADE",
        "REASSIGN OWNED BY clonedb_owner TO clonedb_app",
    )


def replace_functions(scene: Scene) -> bool:
    return scene.allows_any(
        f"CREATE OR REPLACE FUNCTION clonedb.living_user_id() RETURNS uuid LANGUAGE sql "
        f"AS $$SELECT '{scene.ada}'::uuid$$",
        "ALTER FUNCTION clonedb.living_user_id() SECURITY INVOKER",
        "ALTER FUNCTION clonedb.find_login(text) SET search_path = public",
        "ALTER FUNCTION clonedb.find_login(text) LEAKPROOF",
        "DROP FUNCTION clonedb.living_user_id() CASCADE",
    )


def grant_itself(scene: Scene) -> bool:
    """PostgreSQL only warns where a grant gives nothing, so the rights are looked at."""
    with scene.session(scene.grace) as app:
        for statement in (
            *(f"GRANT ALL ON clonedb.{t} TO clonedb_app" for t in TABLES if "." not in t),
            "GRANT ALL ON SCHEMA clonedb TO clonedb_app",
            *(f"GRANT {role} TO clonedb_app" for role in OTHERS),
            "ALTER ROLE clonedb_app SUPERUSER",
            "ALTER ROLE clonedb_app BYPASSRLS",
            "ALTER ROLE clonedb_app CREATEROLE",
            "ALTER DEFAULT PRIVILEGES FOR ROLE clonedb_owner GRANT ALL ON TABLES TO clonedb_app",
            "CREATE ROLE mine SUPERUSER LOGIN",
        ):
            try:
                app.execute(statement.encode())
            except psycopg.errors.InsufficientPrivilege:
                app.rollback()
            else:
                app.commit()
    return bool(differences(scene.database, "users") + differences(scene.database, "audit%"))


def default_context(scene: Scene) -> bool:
    return scene.allows_any(
        f"ALTER ROLE clonedb_app SET clonedb.user_id = '{scene.ada}'",
        f"ALTER ROLE ALL SET clonedb.user_id = '{scene.ada}'",
        f"ALTER DATABASE {scene.database.name} SET clonedb.user_id = '{scene.ada}'",
    )


def truncate(scene: Scene) -> bool:
    return scene.allows_any(
        *(f"TRUNCATE {_name(table)} CASCADE" for table in TABLES), user=scene.grace
    )


def _name(table: str) -> str:
    return table if "." in table else f"clonedb.{table}"


def copy_out(scene: Scene) -> bool:
    found = []
    with scene.session(scene.grace) as app:
        for source in ("clonedb.users", "(SELECT * FROM clonedb.conversation_turns)"):
            with app.cursor().copy(f"COPY {source} TO STDOUT".encode()) as copy:
                found.append(b"".join(bytes(block) for block in copy))
    assert str(scene.grace).encode() in found[0]
    return any(str(scene.ada).encode() in text for text in found)


def copy_in(scene: Scene) -> bool:
    """Into every table of people, whether the app may insert there or not."""
    for table in TABLES:
        if "." in table or "user_id" not in scene.columns(table, "INSERT"):
            continue
        with scene.session(scene.grace) as app:
            try:
                with app.cursor().copy(f"COPY clonedb.{table} (user_id) FROM STDIN".encode()) as c:
                    c.write(f"{scene.ada}\n")
            except psycopg.errors.FeatureNotSupported:
                continue
            return True
    return False


def copy_program(scene: Scene) -> bool:
    return scene.allows_any(
        "COPY clonedb.users TO '/tmp/users'",
        "COPY clonedb.users TO PROGRAM 'cat'",
        "COPY clonedb.object_deletions (object_key) FROM '/etc/passwd'",
        "COPY clonedb.object_deletions (object_key) FROM PROGRAM 'id'",
    )


def server_files(scene: Scene) -> bool:
    return scene.allows_any(
        "SELECT pg_read_file('postgresql.conf')",
        "SELECT pg_read_binary_file('PG_VERSION')",
        "SELECT pg_ls_dir('.')",
        "SELECT pg_stat_file('PG_VERSION')",
        "SELECT pg_ls_logdir()",
        "SELECT pg_current_logfile()",
        "SELECT lo_import('/etc/passwd')",
        "SELECT pg_hba_file_rules()",
        "SELECT sourcefile FROM pg_file_settings",
    )


def passwords(scene: Scene) -> bool:
    return scene.allows_any("SELECT rolpassword FROM pg_authid", "SELECT passwd FROM pg_shadow")


def extension(scene: Scene) -> bool:
    with as_superuser(scene.database) as superuser:
        names = [
            name
            for (name,) in superuser.execute(
                "SELECT name FROM pg_available_extensions WHERE installed_version IS NULL"
            )
        ]
    return scene.allows_any(
        *(f'CREATE EXTENSION "{name}" CASCADE' for name in names),
        "CREATE FOREIGN DATA WRAPPER there",
        "CREATE PUBLICATION mine FOR TABLE clonedb.users",
        "CREATE EVENT TRIGGER mine ON ddl_command_end EXECUTE FUNCTION clonedb.uuid_v7()",
        "LOAD 'auto_explain'",
    )


def raise_itself(scene: Scene) -> bool:
    grace = scene.grace
    return scene.allows_any(
        "UPDATE clonedb.users SET subscription_tier = 'enterprise'",
        "UPDATE clonedb.users SET subject_ref = gen_random_uuid()",
        "UPDATE clonedb.daily_quotas SET conversation_seconds = NULL",
        "UPDATE clonedb.rate_limit_rules SET capacity = 1000000",
        "UPDATE clonedb.rate_limit_buckets SET tokens = 1000000",
        "DELETE FROM clonedb.rate_limits",
        "UPDATE clonedb.daily_usage SET conversation_seconds = 0",
        "UPDATE clonedb.daily_reservations SET settled_seconds = 0",
        "UPDATE clonedb.cache_budgets SET maximum_entries = 1",
        "INSERT INTO clonedb.session_transitions VALUES ('idle', 'speaking')",
        f"INSERT INTO clonedb.users (id, email) VALUES ('{grace}', 'x@example.com')",
        "SELECT clonedb.log_rate_limits(false)",
        user=grace,
    )


def rewrite_audit(scene: Scene) -> bool:
    forged = (
        "INSERT INTO clonedb.audit_logs (actor_ref, subject_ref, action, resource, result) "
        "VALUES ({}, {}, 'user.login', 'users', 'success')"
    )
    hers = f"'{scene.row('users', scene.ada)['subject_ref']}'"
    own = "clonedb.living_subject_ref()"
    return scene.allows_any(
        "UPDATE clonedb.audit_logs SET result = 'success'",
        "DELETE FROM clonedb.audit_logs",
        "SELECT * FROM clonedb.audit_seals",
        "SELECT clonedb.seal_audit_logs(1)",
        forged.format(hers, hers),
        forged.format(own, hers),
        forged.format(hers, own),
        forged.format("NULL", hers),
        user=scene.grace,
    )


def stop_others_by_locks(scene: Scene) -> bool:
    with scene.session() as app, scene.session(scene.ada) as other:
        app.execute("LOCK TABLE clonedb.knowledge_documents")
        other.execute("SELECT set_config('lock_timeout', '10ms', true)")
        try:
            other.execute("SELECT FROM clonedb.knowledge_documents")
        except psycopg.errors.LockNotAvailable:
            return True
    return False


def stop_others_by_advisory_locks(scene: Scene) -> bool:
    with scene.session() as app:
        return app.execute("SELECT pg_try_advisory_lock(%s)", [_KEY]).fetchone() == (True,)


def stop_others_by_ending_them(scene: Scene) -> bool:
    other = psycopg.connect(scene.database.dsn())
    with scene.session() as app:
        ended = app.execute("SELECT pg_terminate_backend(%s, 5000)", [other.info.backend_pid])
        try:
            other.execute("SELECT 1")
        except psycopg.OperationalError:
            return ended.fetchone() == (True,)
    other.close()
    return False


def change_own_login(scene: Scene) -> bool:
    return scene.allows("ALTER ROLE clonedb_app PASSWORD 'x'") and scene.allows(
        "ALTER ROLE clonedb_app SET default_transaction_read_only = on"
    )


def store_large_objects(scene: Scene) -> bool:
    return scene.allows("SELECT lo_from_bytea(0, 'anything')")


def forged_notification(scene: Scene) -> bool:
    with psycopg.connect(scene.database.dsn("clonedb_worker"), autocommit=True) as listener:
        listener.execute("LISTEN clonedb_caches")
        with psycopg.connect(scene.database.dsn("clonedb_app"), autocommit=True) as app:
            app.execute("SELECT pg_notify('clonedb_caches', 'ev')")
        return [each.payload for each in listener.notifies(timeout=5, stop_after=1)] == ["ev"]
