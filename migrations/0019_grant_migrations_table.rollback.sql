-- Takes from the logins what they could read of yoyo's tables.

DO $revoke_tables$
DECLARE
    v_table regclass;
BEGIN
    FOR v_table IN
        SELECT c.oid
        FROM pg_class AS c
        INNER JOIN pg_namespace AS n ON c.relnamespace = n.oid
        WHERE n.nspname = 'public'
            AND c.relkind = 'r'
            AND (c.relname LIKE '\_yoyo\_%' OR c.relname = 'yoyo_lock')
    LOOP
        BEGIN
            EXECUTE format(
                'REVOKE ALL ON %s '
                'FROM clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup, clonedb_dba',
                v_table
            );
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the logins can still read %', v_table;
        END;
    END LOOP;
END
$revoke_tables$;
