"""A planted defect for every check of the doctor: what does it, and what is to be named.

`{month}` is this month as partitions have it, `{database}` the database.
"""

from __future__ import annotations

from typing import Final, NamedTuple

# A table that is added as it should be: the doctor has nothing to say about it.
DIARY: Final = """
SET LOCAL ROLE clonedb_owner;
CREATE TABLE clonedb.diary (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    words text,
    CONSTRAINT diary_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT diary_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE
);
COMMENT ON TABLE clonedb.diary IS 'What a person writes down.';
COMMENT ON COLUMN clonedb.diary.user_id IS 'The person. [personal: identifier]';
COMMENT ON COLUMN clonedb.diary.id IS 'UUIDv7. [personal: identifier]';
COMMENT ON COLUMN clonedb.diary.words IS 'What they write. [personal: content]';
ALTER TABLE clonedb.diary ALTER COLUMN words SET STATISTICS 0;
SELECT clonedb.protect_user_table('clonedb.diary');
GRANT SELECT, INSERT ON clonedb.diary TO clonedb_app, clonedb_worker;
GRANT SELECT (user_id, id) ON clonedb.diary TO clonedb_readonly;
RESET ROLE;
"""

# The same of rows that are nobody's.
NOTICES: Final = """
SET LOCAL ROLE clonedb_owner;
CREATE TABLE clonedb.notices (id uuid NOT NULL, words text, PRIMARY KEY (id));
COMMENT ON TABLE clonedb.notices IS 'What everybody is told.';
COMMENT ON COLUMN clonedb.notices.id IS 'UUIDv7. [personal: none]';
COMMENT ON COLUMN clonedb.notices.words IS 'The text. [personal: none]';
GRANT SELECT ON clonedb.notices TO clonedb_backup;
RESET ROLE;
"""


class Defect(NamedTuple):
    """What is done to a sound database, as a superuser, and the object that is then named.

    `also` are other checks that cannot but find something of the same defect. `rule` is a line of
    pg_hba.conf instead, which is no part of a transaction.
    """

    plant: str = ""
    object: str = ""
    also: frozenset[str] = frozenset()
    rule: str = ""


DEFECTS: Final[dict[str, list[Defect]]] = {
    "beyond_rows": [
        Defect("GRANT TRUNCATE ON clonedb.rate_limits TO clonedb_worker", "clonedb.rate_limits"),
        Defect("GRANT REFERENCES (id) ON clonedb.users TO clonedb_app", "clonedb.users"),
    ],
    "client_owns": [
        Defect("ALTER TABLE clonedb.cache_use OWNER TO clonedb_app", "clonedb.cache_use"),
        Defect(
            "ALTER FUNCTION clonedb.current_user_id() OWNER TO clonedb_worker",
            "clonedb.current_user_id()",
        ),
        Defect("SELECT lo_create(4711); ALTER LARGE OBJECT 4711 OWNER TO clonedb_app", "4711"),
    ],
    "constraint_not_valid": [
        Defect(
            "ALTER TABLE clonedb.users ADD CONSTRAINT users_name_is_no_number "
            "CHECK (name !~ '^[0-9]') NOT VALID",
            "clonedb.users",
        )
    ],
    "default_execute": [
        Defect(
            "ALTER DEFAULT PRIVILEGES FOR ROLE clonedb_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
            "clonedb_owner",
        )
    ],
    "default_privileges": [
        Defect(
            "ALTER DEFAULT PRIVILEGES FOR ROLE clonedb_owner IN SCHEMA clonedb "
            "GRANT SELECT ON TABLES TO clonedb_app",
            "clonedb_owner",
        ),
        Defect(
            "ALTER DEFAULT PRIVILEGES FOR ROLE clonedb_migrator GRANT USAGE ON SEQUENCES TO PUBLIC",
            "clonedb_migrator",
        ),
    ],
    "definer_of_superuser": [
        Defect(
            "ALTER FUNCTION clonedb.find_login(text) OWNER TO clonedb_superuser",
            "clonedb.find_login(text)",
        ),
        Defect(
            "CREATE PROCEDURE clonedb.tidy() LANGUAGE sql SECURITY DEFINER "
            "SET search_path = pg_catalog, pg_temp AS 'SELECT 1';"
            "REVOKE EXECUTE ON PROCEDURE clonedb.tidy() FROM PUBLIC",
            "clonedb.tidy()",
        ),
    ],
    "definer_without_path": [
        Defect(
            "ALTER FUNCTION clonedb.living_user_id() RESET search_path", "clonedb.living_user_id()"
        ),
        Defect(
            "ALTER FUNCTION clonedb.living_user_id() SET search_path = pg_temp, clonedb",
            "clonedb.living_user_id()",
        ),
    ],
    "foreign_key_unindexed": [
        Defect(
            "DROP INDEX clonedb.conversation_sessions_voice_model", "clonedb.conversation_sessions"
        )
    ],
    "foreign_key_without_user": [
        Defect(
            DIARY
            + "ALTER TABLE clonedb.voice_models ADD CONSTRAINT voice_models_id UNIQUE (id);"
            + "ALTER TABLE clonedb.diary ADD COLUMN voice_id uuid,"
            + "ADD CONSTRAINT diary_voice_exists FOREIGN KEY (voice_id) "
            + "REFERENCES clonedb.voice_models (id);"
            + "COMMENT ON COLUMN clonedb.diary.voice_id IS 'A voice. [personal: identifier]';"
            + "CREATE INDEX ON clonedb.diary (voice_id, user_id)",
            "clonedb.diary",
            frozenset({"unique_without_user"}),
        )
    ],
    "foreign_owner": [
        Defect(
            "ALTER FUNCTION clonedb.current_user_id() OWNER TO clonedb_migrator",
            "clonedb.current_user_id()",
        ),
        Defect("ALTER TABLE clonedb.users OWNER TO clonedb_migrator", "clonedb.users"),
    ],
    "foreign_table": [
        Defect(
            "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER there "
            "FOREIGN DATA WRAPPER elsewhere; "
            "CREATE FOREIGN TABLE clonedb.copies (words text) SERVER there;"
            "ALTER FOREIGN TABLE clonedb.copies OWNER TO clonedb_owner;"
            "COMMENT ON FOREIGN TABLE clonedb.copies IS 'Copies.';"
            "COMMENT ON COLUMN clonedb.copies.words IS 'Words. [personal: content]'",
            "clonedb.copies",
        )
    ],
    "function_leakproof": [
        Defect("ALTER FUNCTION clonedb.is_uuid_v7(uuid) LEAKPROOF", "clonedb.is_uuid_v7(uuid)")
    ],
    "function_public": [
        Defect(
            "GRANT EXECUTE ON FUNCTION clonedb.find_login(text) TO PUBLIC",
            "clonedb.find_login(text)",
        )
    ],
    "grant_option": [
        Defect(
            "GRANT SELECT ON clonedb.daily_usage TO clonedb_worker WITH GRANT OPTION",
            "clonedb.daily_usage",
        ),
        Defect(
            "GRANT EXECUTE ON FUNCTION clonedb.find_login(text) TO clonedb_app WITH GRANT OPTION",
            "clonedb.find_login(text)",
        ),
    ],
    "hba_unencrypted": [Defect(rule="host clonedb clonedb_app 192.0.2.0/24 scram-sha-256")],
    "hba_weak": [Defect(rule="hostssl all clonedb_worker 0.0.0.0/0 md5")],
    "index_duplicate": [
        Defect(
            "CREATE INDEX daily_usage_again ON clonedb.daily_usage (user_id, day)",
            "clonedb.daily_usage_again",
        )
    ],
    "index_invalid": [
        Defect(
            "CREATE INDEX turns_unfinished ON ONLY clonedb.conversation_turns (created_at)",
            "clonedb.turns_unfinished",
        ),
        Defect(
            "UPDATE pg_index SET indisvalid = false "
            "WHERE indexrelid = 'clonedb.daily_usage_day'::regclass",
            "clonedb.daily_usage_day",
        ),
    ],
    "log_error_parameters": [
        Defect(
            'ALTER DATABASE "{database}" SET log_parameter_max_length_on_error = 100', "{database}"
        )
    ],
    "log_parameters": [
        Defect("ALTER DATABASE \"{database}\" SET log_statement = 'all'", "{database}"),
        Defect("ALTER ROLE clonedb_app SET log_min_duration_statement = 50", "{database}"),
    ],
    "login_setting": [
        Defect(
            "ALTER ROLE clonedb_app SET clonedb.user_id = '00000000-0000-7000-8000-000000000000'",
            "clonedb_app",
        ),
        Defect('ALTER DATABASE "{database}" SET session_replication_role = replica', "{database}"),
        Defect(
            'ALTER ROLE clonedb_worker IN DATABASE "{database}" SET row_security = off',
            "clonedb_worker",
        ),
    ],
    "materialized_view_granted": [
        Defect(
            "SET LOCAL ROLE clonedb_owner;"
            "CREATE MATERIALIZED VIEW clonedb.everybody AS SELECT email FROM clonedb.users;"
            "COMMENT ON MATERIALIZED VIEW clonedb.everybody IS 'Addresses.';"
            "COMMENT ON COLUMN clonedb.everybody.email IS 'The address. [personal: contact]';"
            "ALTER MATERIALIZED VIEW clonedb.everybody ALTER COLUMN email SET STATISTICS 0;"
            "GRANT SELECT ON clonedb.everybody TO clonedb_readonly; RESET ROLE",
            "clonedb.everybody",
        )
    ],
    "no_policy": [
        Defect(
            "DROP POLICY own_rows ON clonedb.daily_usage;"
            "DROP POLICY every_row ON clonedb.daily_usage;"
            "DROP POLICY every_row_to_read ON clonedb.daily_usage",
            "clonedb.daily_usage",
        ),
        Defect("ALTER TABLE clonedb.cache_use ENABLE ROW LEVEL SECURITY", "clonedb.cache_use"),
    ],
    "no_primary_key": [
        Defect(
            DIARY
            + "CREATE INDEX diary_user ON clonedb.diary (user_id);"
            + "ALTER TABLE clonedb.diary DROP CONSTRAINT diary_pkey",
            "clonedb.diary",
        )
    ],
    "not_backed_up": [
        Defect("REVOKE SELECT ON clonedb.daily_quotas FROM clonedb_backup", "clonedb.daily_quotas"),
        Defect(
            "ALTER POLICY every_row_to_read ON clonedb.daily_usage TO clonedb_readonly",
            "clonedb.daily_usage",
        ),
    ],
    "not_erased": [
        Defect(
            DIARY + "ALTER TABLE clonedb.diary DROP CONSTRAINT diary_user_exists", "clonedb.diary"
        ),
        Defect(
            DIARY
            + "ALTER TABLE clonedb.diary DROP CONSTRAINT diary_user_exists,"
            + "ADD CONSTRAINT diary_user_exists FOREIGN KEY (user_id) "
            + "REFERENCES clonedb.users (id) ON DELETE RESTRICT",
            "clonedb.diary",
        ),
    ],
    "nullable_user": [
        Defect(
            DIARY
            + "ALTER TABLE clonedb.diary DROP CONSTRAINT diary_pkey;"
            + "ALTER TABLE clonedb.diary ALTER COLUMN user_id DROP NOT NULL;"
            + "CREATE UNIQUE INDEX diary_key ON clonedb.diary (user_id, id)",
            "clonedb.diary",
            frozenset({"no_primary_key"}),
        )
    ],
    "outside_function": [
        Defect(
            "GRANT EXECUTE ON FUNCTION pg_read_file(text) TO clonedb_worker",
            "pg_read_file(text)",
        )
    ],
    "owner_blind": [
        Defect(
            "ALTER POLICY every_row ON clonedb.daily_usage TO clonedb_worker, clonedb_dba",
            "clonedb.daily_usage",
        )
    ],
    "owner_login": [Defect("ALTER ROLE clonedb_owner LOGIN", "clonedb_owner")],
    "owner_member": [
        Defect('CREATE ROLE "a deployer"; GRANT clonedb_owner TO "a deployer"', '"a deployer"')
    ],
    "partition_differs": [
        Defect(
            "DROP POLICY own_rows_to_read ON clonedb.audit_logs_{month}",
            "clonedb.audit_logs_{month}",
        )
    ],
    "partition_granted": [
        Defect(
            "GRANT SELECT ON clonedb.conversation_turns_{month} TO clonedb_app",
            "clonedb.conversation_turns_{month}",
        ),
        Defect(
            "GRANT SELECT (user_transcript) ON clonedb.conversation_turns_{month} TO PUBLIC",
            "clonedb.conversation_turns_{month}",
        ),
    ],
    "password_encryption": [
        Defect(
            "ALTER DATABASE \"{database}\" SET password_encryption = 'md5'", "password_encryption"
        )
    ],
    "password_md5": [
        Defect(
            "SET LOCAL client_min_messages = error;"
            "ALTER ROLE clonedb_app PASSWORD 'md5aa5ca65fb4f46f0d2d6d4e0f5cb7fc1f'",
            "clonedb_app",
        )
    ],
    "policy_always_true": [
        Defect(
            "CREATE POLICY everything ON clonedb.daily_usage TO clonedb_app USING (true)",
            "clonedb.daily_usage",
        ),
        Defect(
            'CREATE POLICY "Whoever Lives" ON clonedb.daily_usage FOR SELECT TO clonedb_app '
            "USING ((SELECT clonedb.living_user_id()) IS NOT NULL)",
            "clonedb.daily_usage",
        ),
    ],
    "policy_for_public": [
        Defect("ALTER POLICY own_rows ON clonedb.daily_usage TO PUBLIC", "clonedb.daily_usage")
    ],
    "policy_ignores_caller": [
        Defect(
            "CREATE POLICY known ON clonedb.daily_usage FOR SELECT TO clonedb_app "
            "USING (user_id IS NOT NULL)",
            "clonedb.daily_usage",
        ),
        Defect(
            "ALTER POLICY own_rows ON clonedb.daily_usage WITH CHECK (day > '2026-01-01')",
            "clonedb.daily_usage",
        ),
    ],
    "policy_per_row": [
        Defect(
            "ALTER POLICY own_rows ON clonedb.daily_usage "
            "USING (user_id = clonedb.living_user_id()) "
            "WITH CHECK (user_id = clonedb.living_user_id())",
            "clonedb.daily_usage",
        ),
        Defect(
            "ALTER POLICY own_rows ON clonedb.daily_usage "
            "USING (user_id = nullif(current_setting('clonedb.user_id', true), '')::uuid)",
            "clonedb.daily_usage",
        ),
    ],
    "public_rights": [
        Defect("GRANT SELECT (id) ON clonedb.users TO PUBLIC", "clonedb.users"),
        Defect("GRANT USAGE ON SCHEMA clonedb TO PUBLIC", "clonedb"),
        Defect("GRANT SELECT ON clonedb.daily_quotas TO PUBLIC", "clonedb.daily_quotas"),
    ],
    "publication": [
        Defect(
            "SET LOCAL client_min_messages = error;"
            "CREATE PUBLICATION warehouse FOR TABLE clonedb.conversation_turns",
            "warehouse",
        ),
        Defect(
            "SET LOCAL client_min_messages = error;"
            "CREATE PUBLICATION warehouse FOR TABLES IN SCHEMA clonedb",
            "warehouse",
        ),
    ],
    "readonly_reads_content": [
        Defect("GRANT SELECT (subject_ref) ON clonedb.users TO clonedb_readonly", "clonedb.users"),
        Defect("GRANT SELECT ON clonedb.users TO clonedb_readonly", "clonedb.users"),
        Defect("GRANT SELECT (email) ON clonedb.users TO clonedb_readonly", "clonedb.users"),
        Defect(
            "GRANT SELECT ON clonedb.knowledge_documents TO clonedb_readonly",
            "clonedb.knowledge_documents",
        ),
    ],
    "readonly_writes": [
        Defect("GRANT INSERT ON clonedb.daily_usage TO clonedb_readonly", "clonedb.daily_usage"),
        Defect("GRANT UPDATE (name) ON clonedb.users TO clonedb_backup", "clonedb.users"),
    ],
    "risky_extension": [
        Defect(
            # Where the server has no such extension its row in the catalogue is all there is.
            "DO $plant$ BEGIN CREATE EXTENSION dblink; EXCEPTION WHEN OTHERS THEN "
            "INSERT INTO pg_extension (oid, extname, extowner, extnamespace, extrelocatable, "
            "extversion) VALUES (16000, 'dblink', 10, 'public'::regnamespace, false, '1.2'); "
            "END $plant$",
            "dblink",
        )
    ],
    "rls_not_forced": [
        Defect("ALTER TABLE clonedb.users NO FORCE ROW LEVEL SECURITY", "clonedb.users")
    ],
    "rls_off": [
        Defect("ALTER TABLE clonedb.users DISABLE ROW LEVEL SECURITY", "clonedb.users"),
        Defect(
            "ALTER TABLE clonedb.conversation_turns_{month} DISABLE ROW LEVEL SECURITY",
            "clonedb.conversation_turns_{month}",
        ),
    ],
    "role_membership": [
        Defect("GRANT clonedb_owner TO clonedb_app", "clonedb_app"),
        Defect("GRANT clonedb_worker TO clonedb_app", "clonedb_app"),
        Defect(
            'CREATE ROLE "talk@service" LOGIN; GRANT clonedb_app TO "talk@service";'
            'GRANT pg_read_all_data TO "talk@service"',
            '"talk@service"',
        ),
    ],
    "role_power": [
        Defect("ALTER ROLE clonedb_worker BYPASSRLS", "clonedb_worker"),
        Defect("ALTER ROLE clonedb_app SUPERUSER", "clonedb_app"),
        Defect(
            'CREATE ROLE "talk@service" LOGIN CREATEDB; GRANT clonedb_app TO "talk@service"',
            '"talk@service"',
        ),
    ],
    "sampled_content": [
        Defect("ALTER TABLE clonedb.users ALTER COLUMN name SET STATISTICS -1", "clonedb.users"),
        Defect(
            "ALTER TABLE clonedb.conversation_turns_{month} ALTER COLUMN llm_response "
            "SET STATISTICS 100",
            "clonedb.conversation_turns_{month}",
        ),
    ],
    "schema_create": [
        Defect("GRANT CREATE ON SCHEMA clonedb TO clonedb_app", "clonedb"),
        Defect("GRANT CREATE ON SCHEMA public TO PUBLIC", "public"),
    ],
    "search_path_setting": [
        Defect("ALTER ROLE clonedb_app SET search_path = clonedb, public", "clonedb_app"),
        Defect('ALTER DATABASE "{database}" SET search_path = public', "{database}"),
    ],
    "sequence_rights": [
        Defect(
            "SET LOCAL ROLE clonedb_owner; CREATE SEQUENCE clonedb.numbers;"
            "GRANT SELECT ON SEQUENCE clonedb.numbers TO clonedb_backup;"
            "GRANT UPDATE ON SEQUENCE clonedb.numbers TO clonedb_app; RESET ROLE",
            "clonedb.numbers",
        )
    ],
    "table_rule": [
        Defect(
            "CREATE RULE nothing AS ON DELETE TO clonedb.daily_usage DO INSTEAD NOTHING",
            "clonedb.daily_usage",
        )
    ],
    "temporary_tables": [
        Defect('GRANT TEMPORARY ON DATABASE "{database}" TO PUBLIC', "{database}"),
        Defect('GRANT CREATE ON DATABASE "{database}" TO clonedb_worker', "{database}"),
    ],
    "trigger_disabled": [
        Defect("ALTER TABLE clonedb.daily_usage DISABLE TRIGGER ALL", "clonedb.daily_usage"),
        Defect(
            "ALTER TABLE clonedb.conversation_turns DISABLE TRIGGER ALL",
            "clonedb.conversation_turns",
        ),
    ],
    "uncommented": [
        Defect(
            "COMMENT ON COLUMN clonedb.users.name IS NULL",
            "clonedb.users.name",
            frozenset({"unclassified"}),
        ),
        Defect("COMMENT ON TABLE clonedb.users IS NULL", "clonedb.users"),
    ],
    "unclassified": [
        Defect("COMMENT ON COLUMN clonedb.users.name IS 'Their name'", "clonedb.users.name"),
        Defect(
            "COMMENT ON COLUMN clonedb.users.name IS 'Their name. [personal: secret]'",
            "clonedb.users.name",
        ),
        Defect(
            "COMMENT ON COLUMN clonedb.users.name IS 'Their name. [personal: none]'",
            "clonedb.users.name",
        ),
    ],
    "undeclared_table": [
        Defect(NOTICES + "GRANT SELECT ON clonedb.notices TO clonedb_app", "clonedb.notices"),
        Defect(
            NOTICES + "GRANT INSERT (words) ON clonedb.notices TO clonedb_app", "clonedb.notices"
        ),
    ],
    "unique_without_user": [
        Defect(
            "ALTER TABLE clonedb.voice_models ADD CONSTRAINT voice_models_path UNIQUE (model_path)",
            "clonedb.voice_models",
        ),
        Defect(
            "CREATE UNIQUE INDEX voice_models_path ON clonedb.voice_models (lower(model_path)) "
            "WHERE deleted_at IS NULL",
            "clonedb.voice_models",
        ),
    ],
    "unlogged_data": [
        Defect("ALTER TABLE clonedb.daily_usage SET UNLOGGED", "clonedb.daily_usage")
    ],
    "view_not_invoker": [
        Defect(
            "SET LOCAL ROLE clonedb_owner; CREATE VIEW clonedb.addresses "
            "AS SELECT email FROM clonedb.users;"
            "COMMENT ON VIEW clonedb.addresses IS 'Addresses.';"
            "COMMENT ON COLUMN clonedb.addresses.email IS 'An address. [personal: contact]';"
            "RESET ROLE",
            "clonedb.addresses",
        )
    ],
    "writable_audit": [
        Defect("GRANT DELETE ON clonedb.audit_logs TO clonedb_worker", "clonedb.audit_logs"),
        Defect("GRANT UPDATE (action) ON clonedb.audit_logs TO clonedb_dba", "clonedb.audit_logs"),
        Defect("GRANT TRUNCATE ON clonedb.audit_subjects TO clonedb_app", "clonedb.audit_subjects"),
    ],
}
