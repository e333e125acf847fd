-- Creates the function that puts row-level security on a table, and protects the users with it.
-- depends: 0004_create_users
-- why: policies written in one place are the same on every table and partition, and can be changed
--   for all of them at once. A new partition has row-level security off until it is set.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on users
-- rollback: takes the protection from the users; drops the function
--
-- Who sees what, whatever a table grants them:
--   clonedb_app       rows of the living user in the context, and no other
--   clonedb_worker    every row: its statements name the user themselves
--   clonedb_dba       every row
--   clonedb_owner     every row: without a policy, its backfills would change nothing, silently
--   clonedb_backup    every row, to read: pg_dump --enable-row-security
--   clonedb_readonly  every row, to read, of the columns that it was granted
--
-- clonedb_readonly is for dashboards and people who answer questions about the system. Voice, face
-- and words of a person are intimate, so it is granted counts, times, states and costs, and neither
-- content nor what identifies a person.

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.protect_user_table(p_table regclass, p_shared_rows text DEFAULT 'none')
RETURNS void
LANGUAGE plpgsql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_shared constant text := quote_literal('00000000-0000-0000-0000-000000000000') || '::uuid';
    v_policy text;
    v_column text;
    v_own text;
BEGIN
    v_column := (
        SELECT a.attname
        FROM pg_attribute AS a
        WHERE a.attrelid = p_table
            AND a.attname IN ('user_id', 'subject_ref')
            AND a.attnum > 0
            AND NOT a.attisdropped
        ORDER BY a.attname DESC
        LIMIT 1
    );
    IF p_table = 'clonedb.users'::regclass THEN
        v_column := 'id';
    END IF;
    IF v_column IS NULL OR p_shared_rows NOT IN ('none', 'readable', 'appendable') THEN
        RAISE EXCEPTION 'cannot protect % with shared rows %', p_table, p_shared_rows
            USING
                ERRCODE = 'invalid_parameter_value',
                HINT = 'A protected table has a column user_id or subject_ref; shared rows are '
                    'none, readable or appendable.';
    END IF;

    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', p_table);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', p_table);
    FOR v_policy IN
        SELECT p.polname
        FROM pg_policy AS p
        WHERE p.polrelid = p_table
    LOOP
        EXECUTE format('DROP POLICY %I ON %s', v_policy, p_table);
    END LOOP;

    EXECUTE format(
        'CREATE POLICY every_row ON %s TO clonedb_owner, clonedb_worker, clonedb_dba '
        'USING (true) WITH CHECK (true)',
        p_table
    );
    EXECUTE format(
        'CREATE POLICY every_row_to_read ON %s FOR SELECT TO clonedb_backup, clonedb_readonly '
        'USING (true)',
        p_table
    );

    -- The sub-select is evaluated once for a statement, the bare function once for a row.
    IF v_column = 'subject_ref' THEN
        EXECUTE format(
            'CREATE POLICY own_rows_to_read ON %s FOR SELECT TO clonedb_app '
            'USING (subject_ref = (SELECT clonedb.living_subject_ref()))',
            p_table
        );
        -- Unknown is NULL: a failed login is recorded before there is a context. Whoever is on
        -- record as a subject is so as the actor too: nobody's own deed looks like the system's.
        EXECUTE format(
            'CREATE POLICY own_or_unknown_to_append ON %s FOR INSERT TO clonedb_app '
            'WITH CHECK ('
            '(subject_ref IS NULL OR subject_ref = (SELECT clonedb.living_subject_ref())) '
            'AND actor_ref IS NOT DISTINCT FROM subject_ref)',
            p_table
        );
    ELSE
        v_own := format('%I = (SELECT clonedb.living_user_id())', v_column);
        EXECUTE format(
            'CREATE POLICY own_rows ON %s TO clonedb_app USING (%s) WITH CHECK (%s)',
            p_table, v_own, v_own
        );
    END IF;
    IF p_shared_rows = 'readable' THEN
        EXECUTE format(
            'CREATE POLICY shared_rows_to_read ON %s FOR SELECT TO clonedb_app '
            'USING (user_id = %s)',
            p_table, v_shared
        );
    ELSIF p_shared_rows = 'appendable' THEN
        EXECUTE format(
            'CREATE POLICY shared_rows_to_append ON %s FOR INSERT TO clonedb_app '
            'WITH CHECK (user_id = %s)',
            p_table, v_shared
        );
    END IF;

    -- pg_dump reads partitions one by one, so the backup needs each of them.
    EXECUTE format('GRANT SELECT ON %s TO clonedb_backup', p_table);
END
$$;

COMMENT ON FUNCTION clonedb.protect_user_table(regclass, text) IS
'Forces row-level security on a user''s table or partition and (re)writes its policies. Rows of the
nil UUID belong to nobody: none for the app, readable by it (caches) or appendable (audit details).
For migrations and the partition functions; takes ACCESS EXCLUSIVE on the table.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.users');
END
$protect$;

-- The app signs people up through clonedb.sign_up(), and never sets a tier or a subject.
GRANT SELECT, DELETE ON clonedb.users TO clonedb_app;
GRANT UPDATE (
    email,
    name,
    personality_traits,
    speaking_style,
    preferred_llm_provider,
    preferred_tts_provider,
    conversation_minutes_used,
    settings,
    updated_at,
    deleted_at
) ON clonedb.users TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.users TO clonedb_worker, clonedb_dba;
GRANT SELECT (
    id,
    preferred_llm_provider,
    preferred_tts_provider,
    subscription_tier,
    conversation_minutes_used,
    created_at,
    updated_at,
    deleted_at
) ON clonedb.users TO clonedb_readonly;
