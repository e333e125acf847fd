-- Empties every table of clonedb that migrations leave empty. For tests: as a superuser, who is not
-- subject to row-level security. Deleting a few rows is a hundred times faster than TRUNCATE, which
-- makes new files for every partition.

DO $empty_tables$
DECLARE
    v_table regclass;
BEGIN
    -- Users first: their rows go by cascade, in the order that the keys ask for.
    DELETE FROM clonedb.conversation_sessions;
    DELETE FROM clonedb.stored_objects;
    DELETE FROM clonedb.users;
    FOR v_table IN
        SELECT c.oid
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND c.relkind IN ('r', 'p')
            AND NOT c.relispartition
            AND c.relname NOT IN (
                'cache_budgets',
                'conversation_sessions',
                'conversation_turns',
                'daily_quotas',
                'rate_limit_rules',
                'retention_policies',
                'session_transitions',
                'stored_objects',
                'users'
            )
    LOOP
        EXECUTE format('DELETE FROM %s', v_table);
    END LOOP;
END
$empty_tables$;
