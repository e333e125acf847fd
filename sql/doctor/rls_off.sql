-- name: find()
-- Tables and partitions that hold rows of people and do not ask whose they are.
SELECT
    c.oid::regclass::text AS object,
    CASE
        -- Its policies are there, or are to be written by hand.
        WHEN EXISTS (
            SELECT 1
            FROM pg_catalog.pg_policy AS p
            WHERE p.polrelid = c.oid
        ) OR NOT EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = c.oid
                AND a.attname IN ('user_id', 'subject_ref')
                AND NOT a.attisdropped
        )
            THEN format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY;', c.oid::regclass)
        ELSE format('SELECT clonedb.protect_user_table(%L);', c.oid::regclass)
    END AS remedy
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relrowsecurity
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
