-- name: find()^
-- Prepares the transaction for the checks, and says what may be looked at. With a search_path of
-- pg_catalog alone every name comes back with its schema.
SELECT
    set_config('search_path', 'pg_catalog', true) AS search_path,
    set_config('jit', 'off', true) AS jit,
    set_config('statement_timeout', '30s', true) AS statement_timeout,
    to_regnamespace('clonedb') IS NOT NULL
    AND EXISTS (
        SELECT 1
        FROM pg_catalog.pg_class AS c
        WHERE c.relnamespace = to_regnamespace('clonedb')
            AND c.relname = 'users'
    ) AS is_migrated,
    has_table_privilege('pg_catalog.pg_authid', 'SELECT') AS may_read_passwords,
    has_table_privilege('pg_catalog.pg_hba_file_rules', 'SELECT')
    AND has_function_privilege('pg_catalog.pg_hba_file_rules()', 'EXECUTE') AS may_read_hba_rules;
