-- Lets the logins read which migrations are applied.
-- depends: 0018_create_audit
-- why: a service compares them with what its release needs, and a backup dumps them.
-- phase: before deploy
-- locks: none
-- rollback: takes the rights again
--
-- yoyo's tables belong to whoever ran the first migration, so this does not become clonedb_owner.

DO $grant_tables$
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
            EXECUTE format('GRANT SELECT ON %s TO clonedb_backup', v_table);
            IF v_table = to_regclass('public._yoyo_migration') THEN
                EXECUTE format(
                    'GRANT SELECT ON %s '
                    'TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_dba',
                    v_table
                );
            END IF;
        EXCEPTION
            WHEN insufficient_privilege THEN
                RAISE WARNING 'the logins cannot read %', v_table
                    USING HINT = format(
                        'As the owner of the table: GRANT SELECT ON %s TO clonedb_app, '
                        'clonedb_worker, clonedb_readonly, clonedb_dba, clonedb_backup',
                        v_table
                    );
        END;
    END LOOP;
END
$grant_tables$;
