-- name: find()
-- Tables that row-level security closes to everybody.
SELECT
    c.oid::regclass::text AS object,
    CASE
        WHEN c.relname = 'users' OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid
                AND a.attname IN ('user_id', 'subject_ref')
                AND NOT a.attisdropped
        )
            THEN format('SELECT clonedb.protect_user_table(%L);', c.oid::regclass)
        ELSE format(
            'CREATE POLICY every_row ON %s TO clonedb_owner, clonedb_worker, clonedb_dba, '
            'clonedb_backup USING (true);',
            c.oid::regclass
        )
    END AS remedy
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND c.relrowsecurity
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_policy AS p
        WHERE p.polrelid = c.oid
    )
ORDER BY object;
