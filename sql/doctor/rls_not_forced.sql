-- name: find()
-- Tables whose owner, and the owner's functions, row-level security does not hold.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relforcerowsecurity
    AND (
        c.relname = 'users'
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid
                AND a.attname IN ('user_id', 'subject_ref')
                AND NOT a.attisdropped
        )
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_constraint AS k
            WHERE k.conrelid = c.oid
                AND k.contype = 'f'
                AND k.confrelid = 'clonedb.users'::regclass
        )
    )
ORDER BY object;
