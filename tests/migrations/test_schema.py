"""What holds for every table, key, function and right, read from the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest
from people import copy_of

from clonedb.embedded import EmbeddedServer

Rows = list[tuple[Any, ...]]
Catalogue = Callable[..., Rows]


@pytest.fixture(scope="module")
def catalogue(server: EmbeddedServer, clonedb_template: Any) -> Iterator[Catalogue]:
    """Ask the catalogue of a migrated database, as the superuser."""
    with (
        copy_of(server, clonedb_template, "catalogue") as database,
        psycopg.connect(database.dsn("clonedb_superuser"), autocommit=True) as connection,
    ):
        yield lambda query: connection.execute(query.encode()).fetchall()


OF_PEOPLE = """
    c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND (
        c.oid = 'clonedb.users'::regclass
        OR EXISTS (
            SELECT
            FROM pg_attribute AS a
            WHERE a.attrelid = c.oid AND a.attname IN ('user_id', 'subject_ref')
        )
    )
"""


def test_row_level_security_is_forced_on_every_table_of_people(catalogue: Catalogue) -> None:
    tables = catalogue(
        f"""
        SELECT c.relname, c.relrowsecurity, c.relforcerowsecurity
        FROM pg_class AS c
        WHERE {OF_PEOPLE}
        """
    )
    assert sum(name.startswith("conversation_turns_") for name, *_ in tables) >= 26
    assert sum(name.startswith("audit_logs_") for name, *_ in tables) >= 26
    assert [name for name, enabled, forced in tables if not (enabled and forced)] == []


def test_partitions_have_the_policies_of_their_table(catalogue: Catalogue) -> None:
    policies = """
        SELECT coalesce(jsonb_agg(
            jsonb_build_array(
                p.polname, p.polcmd, p.polroles::regrole[]::text,
                pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
            ) ORDER BY p.polname
        ), '[]')
        FROM pg_policy AS p
        WHERE p.polrelid = {}
    """
    different = catalogue(
        f"""
        SELECT i.inhrelid::regclass
        FROM pg_inherits AS i
        INNER JOIN pg_class AS c ON c.oid = i.inhparent AND c.relkind = 'p'
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND ({policies.format("i.inhrelid")}) <> ({policies.format("i.inhparent")})
        """
    )
    assert different == []


def test_a_policy_that_lets_everything_through_is_not_the_apps(catalogue: Catalogue) -> None:
    open_policies = catalogue(
        """
        SELECT p.polrelid::regclass, p.polname
        FROM pg_policy AS p
        WHERE ('clonedb_app'::regrole = ANY (p.polroles) OR 0 = ANY (p.polroles))
            AND (
                pg_get_expr(p.polqual, p.polrelid) = 'true'
                OR pg_get_expr(p.polwithcheck, p.polrelid) = 'true'
            )
        """
    )
    assert open_policies == []


def test_policies_ask_for_the_user_once_for_a_statement(catalogue: Catalogue) -> None:
    policies = catalogue(
        """
        SELECT p.polrelid::regclass::text, p.polname
        FROM pg_policy AS p
        WHERE concat(
            pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)
        ) ~ '(?<!SELECT clonedb\\.)(living|current)_[a-z_]+\\('
        """
    )
    assert policies == []


def test_every_foreign_key_is_indexed_where_it_refers(catalogue: Catalogue) -> None:
    keys = catalogue(
        """
        SELECT k.conrelid::regclass, k.conname
        FROM pg_constraint AS k
        WHERE k.contype = 'f' AND k.connamespace = 'clonedb'::regnamespace
            AND NOT EXISTS (
                -- Begins with columns of the key: two of them, or the only one.
                SELECT
                FROM pg_index AS i
                WHERE i.indrelid = k.conrelid AND i.indisvalid AND i.indpred IS NULL
                    AND i.indkey[0] = ANY (k.conkey)
                    AND (cardinality(k.conkey) = 1 OR i.indkey[1] = ANY (k.conkey))
            )
        """
    )
    assert keys == []


def test_the_user_comes_first_in_every_key(catalogue: Catalogue) -> None:
    keys = catalogue(
        f"""
        SELECT k.conrelid::regclass::text, k.conname, a.attname
        FROM pg_constraint AS k
        INNER JOIN pg_class AS c ON c.oid = k.conrelid
        INNER JOIN pg_attribute AS a ON a.attrelid = k.conrelid AND a.attnum = k.conkey[1]
        WHERE k.contype IN ('p', 'u', 'f') AND {OF_PEOPLE}
            AND c.relname <> 'users' AND c.relname NOT LIKE 'audit\\_logs%'
        UNION ALL
        SELECT i.indrelid::regclass::text, i.indexrelid::regclass::text, a.attname
        FROM pg_index AS i
        INNER JOIN pg_class AS c ON c.oid = i.indrelid
        INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = i.indkey[0]
        WHERE i.indisunique AND {OF_PEOPLE}
            AND c.relname <> 'users' AND c.relname NOT LIKE 'audit\\_logs%'
        """
    )
    assert len(keys) > 100
    # owner_id is the same user, or NULL where the row is everybody's.
    assert [key for key in keys if key[2] not in ("user_id", "owner_id")] == []


def test_user_id_is_never_null(catalogue: Catalogue) -> None:
    columns = catalogue(
        """
        SELECT a.attrelid::regclass
        FROM pg_attribute AS a
        INNER JOIN pg_class AS c ON c.oid = a.attrelid AND c.relkind IN ('r', 'p')
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND a.attname = 'user_id' AND NOT a.attnotnull
        """
    )
    assert columns == []


def test_every_table_has_a_primary_key(catalogue: Catalogue) -> None:
    tables = catalogue(
        """
        SELECT c.relname
        FROM pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relkind IN ('r', 'p')
            AND NOT EXISTS (SELECT FROM pg_index AS i WHERE i.indrelid = c.oid AND i.indisprimary)
        """
    )
    assert tables == []


def test_foreign_keys_cascade_or_restrict(catalogue: Catalogue) -> None:
    keys = catalogue(
        """
        SELECT k.conname
        FROM pg_constraint AS k
        WHERE k.contype = 'f' AND k.connamespace = 'clonedb'::regnamespace
            AND k.confdeltype NOT IN ('c', 'r')
        """
    )
    assert keys == []


def test_no_constraint_is_deferred_or_unproved(catalogue: Catalogue) -> None:
    constraints = catalogue(
        """
        SELECT k.conname
        FROM pg_constraint AS k
        WHERE k.connamespace = 'clonedb'::regnamespace
            AND (k.condeferrable OR k.condeferred OR NOT k.convalidated)
        """
    )
    assert constraints == []


def test_there_is_no_trigger_but_those_of_keys(catalogue: Catalogue) -> None:
    triggers = catalogue(
        """
        SELECT t.tgname
        FROM pg_trigger AS t
        INNER JOIN pg_class AS c ON c.oid = t.tgrelid
        WHERE c.relnamespace = 'clonedb'::regnamespace AND NOT t.tgisinternal
        """
    )
    assert triggers == []


def test_constraints_are_named_after_their_table(catalogue: Catalogue) -> None:
    constraints = catalogue(
        """
        SELECT c.relname, k.conname
        FROM pg_constraint AS k
        INNER JOIN pg_class AS c ON c.oid = k.conrelid
        WHERE k.connamespace = 'clonedb'::regnamespace
            AND NOT c.relispartition AND k.contype IN ('c', 'f', 'p', 'u')
            -- Rows of a key that refers to a partitioned table are the server's own.
            AND k.conparentid = 0
            AND NOT starts_with(k.conname, c.relname || '_')
        """
    )
    assert constraints == []


def test_everything_has_a_comment(catalogue: Catalogue) -> None:
    without = catalogue(
        """
        SELECT 'schema', n.nspname::text
        FROM pg_namespace AS n
        WHERE n.nspname = 'clonedb' AND obj_description(n.oid, 'pg_namespace') IS NULL
        UNION ALL
        SELECT 'relation', c.relname::text
        FROM pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND c.relkind IN ('r', 'p', 'v', 'm', 'S')
            AND obj_description(c.oid, 'pg_class') IS NULL
        UNION ALL
        SELECT 'index', i.indexrelid::regclass::text
        FROM pg_index AS i
        INNER JOIN pg_class AS c ON c.oid = i.indrelid AND NOT c.relispartition
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)
            AND obj_description(i.indexrelid, 'pg_class') IS NULL
        UNION ALL
        SELECT 'column', c.relname || '.' || a.attname
        FROM pg_class AS c
        INNER JOIN pg_attribute AS a ON a.attrelid = c.oid
        WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relkind IN ('r', 'p', 'v', 'm')
            AND a.attnum > 0 AND NOT a.attisdropped
            AND col_description(c.oid, a.attnum) IS NULL
        UNION ALL
        SELECT 'function', f.oid::regprocedure::text
        FROM pg_proc AS f
        WHERE f.pronamespace = 'clonedb'::regnamespace
            AND obj_description(f.oid, 'pg_proc') IS NULL
        """
    )
    assert without == []


def test_no_function_can_be_misled_by_a_search_path(catalogue: Catalogue) -> None:
    """Its path is pinned, or its body was bound to what it names when it was created."""
    functions = catalogue(
        """
        SELECT f.oid::regprocedure
        FROM pg_proc AS f
        WHERE f.pronamespace = 'clonedb'::regnamespace
            AND NOT 'search_path=pg_catalog, pg_temp' = ANY (coalesce(f.proconfig, '{}'))
            AND (f.prosqlbody IS NULL OR f.prosecdef)
        """
    )
    assert functions == []


def test_the_public_may_do_nothing(catalogue: Catalogue) -> None:
    rights = catalogue(
        """
        SELECT f.oid::regprocedure::text, a.privilege_type
        FROM pg_proc AS f
        CROSS JOIN aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
        WHERE f.pronamespace = 'clonedb'::regnamespace AND a.grantee = 0
        UNION ALL
        SELECT c.relname::text, a.privilege_type
        FROM pg_class AS c
        CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'clonedb'::regnamespace AND a.grantee = 0
        UNION ALL
        SELECT n.nspname::text, a.privilege_type
        FROM pg_namespace AS n
        CROSS JOIN aclexplode(n.nspacl) AS a
        WHERE n.nspname = 'clonedb' AND a.grantee = 0
        """
    )
    assert rights == []


def test_a_later_function_is_not_executable_by_the_public(migrated: Any) -> None:
    with psycopg.connect(migrated.dsn("clonedb_migrator")) as connection:
        connection.execute("SET ROLE clonedb_owner")
        connection.execute("CREATE FUNCTION clonedb.later() RETURNS integer LANGUAGE sql RETURN 1")
        executable = connection.execute(
            "SELECT has_function_privilege('clonedb_app', 'clonedb.later()', 'EXECUTE')"
        ).fetchone()
        connection.rollback()
    assert executable == (False,)


def test_everything_belongs_to_the_owner_who_has_no_login(catalogue: Catalogue) -> None:
    owners = catalogue(
        """
        SELECT c.relname::text FROM pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND c.relowner <> 'clonedb_owner'::regrole
        UNION ALL
        SELECT f.proname::text FROM pg_proc AS f
        WHERE f.pronamespace = 'clonedb'::regnamespace
            AND f.proowner <> 'clonedb_owner'::regrole
        """
    )
    assert owners == []
    assert catalogue("SELECT rolcanlogin FROM pg_roles WHERE rolname = 'clonedb_owner'") == [
        (False,)
    ]


def test_no_role_has_powers_beyond_its_rights(catalogue: Catalogue) -> None:
    roles = catalogue(
        """
        SELECT r.rolname
        FROM pg_roles AS r
        WHERE r.rolname LIKE 'clonedb\\_%' AND r.rolname <> 'clonedb_superuser'
            AND (r.rolsuper OR r.rolbypassrls OR r.rolcreaterole OR r.rolcreatedb
                OR r.rolreplication)
        """
    )
    assert roles == []
    memberships = catalogue(
        """
        SELECT m.member::regrole::text, m.roleid::regrole::text
        FROM pg_auth_members AS m
        WHERE m.member::regrole::text LIKE 'clonedb\\_%'
            AND m.member::regrole::text <> 'clonedb_superuser'
        """
    )
    assert memberships == [("clonedb_migrator", "clonedb_owner")]


def test_partitions_are_reached_through_their_table_alone(catalogue: Catalogue) -> None:
    rights = catalogue(
        """
        SELECT c.relname, a.grantee::regrole::text, a.privilege_type
        FROM pg_class AS c
        CROSS JOIN aclexplode(c.relacl) AS a
        WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relispartition
            AND a.grantee <> 'clonedb_owner'::regrole
            AND NOT (a.grantee = 'clonedb_backup'::regrole AND a.privilege_type = 'SELECT')
        """
    )
    assert rights == []


@pytest.mark.parametrize(
    ("table", "columns"),
    [
        ("users", "(email_key)"),
        ("users", "(deleted_at, id)"),
        ("voice_models", "(user_id, is_active)"),
        ("face_models", "(user_id, is_active)"),
        ("voice_models", "(status, created_at, user_id, id)"),
        ("voice_models", "(user_id, created_at DESC, id DESC)"),
        ("face_models", "(user_id, created_at DESC, id DESC)"),
        ("conversation_sessions", "(user_id, started_at DESC, id DESC)"),
        ("knowledge_documents", "(user_id, uploaded_at DESC, id DESC)"),
        ("knowledge_documents", "(user_id, status, uploaded_at DESC, id DESC)"),
        ("knowledge_documents", "(search)"),
        ("embedding_cache", "(user_id, key)"),
        ("embedding_cache", "(expires_at)"),
        ("vector_search_cache", "(expires_at)"),
        ("llm_response_cache", "(expires_at)"),
        ("audio_chunk_cache", "(expires_at)"),
        ("rate_limits", "(user_id, endpoint, window_start)"),
        ("audit_logs", "(subject_ref, id DESC)"),
        ("audit_logs", "(xid)"),
    ],
)
def test_the_index_is_there(catalogue: Catalogue, table: str, columns: str) -> None:
    definitions = catalogue(
        f"SELECT indexdef FROM pg_indexes WHERE schemaname = 'clonedb' AND tablename = '{table}'"
    )
    assert any(columns in definition for (definition,) in definitions), definitions


def test_caches_buckets_and_counts_alone_are_unlogged(catalogue: Catalogue) -> None:
    tables = catalogue(
        """
        SELECT c.relname FROM pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace AND c.relkind = 'r'
            AND c.relpersistence = 'u'
        ORDER BY c.relname
        """
    )
    assert [name for (name,) in tables] == [
        "audio_chunk_cache",
        "cache_changes",
        "cache_fill_leases",
        "embedding_cache",
        "llm_response_cache",
        "rate_limit_buckets",
        "rate_limit_receipts",
        "rate_limits",
        "vector_search_cache",
    ]


def test_transitions_are_those_of_the_design(catalogue: Catalogue) -> None:
    found: dict[str, set[str]] = {}
    for from_state, to_state in catalogue(
        "SELECT from_state, to_state FROM clonedb.session_transitions"
    ):
        found.setdefault(from_state, set()).add(to_state)
    assert found == {
        "idle": {"listening"},
        "listening": {"processing", "interrupted", "idle", "error"},
        "processing": {"speaking", "interrupted", "idle", "error"},
        "speaking": {"listening", "interrupted", "idle", "error"},
        "interrupted": {"listening", "processing", "idle", "error"},
        "error": {"listening", "idle"},
    }


def test_every_tier_has_a_rule(catalogue: Catalogue) -> None:
    tiers = catalogue("SELECT tier FROM clonedb.rate_limit_rules WHERE scope = 'user'")
    assert {tier for (tier,) in tiers} == {"free", "pro", "enterprise"}
