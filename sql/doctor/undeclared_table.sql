-- name: find(shared)
-- Tables that the app may use, without an owner among people and not declared as shared.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND c.relname <> 'users'
    AND c.relname <> ALL(:shared::text[])
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid
            AND a.attname IN ('user_id', 'subject_ref')
            AND NOT a.attisdropped
    )
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_constraint AS k
        WHERE k.conrelid = c.oid
            AND k.contype = 'f'
            AND k.confrelid = 'clonedb.users'::regclass
    )
    AND (
        EXISTS (
            SELECT 1
            FROM aclexplode(c.relacl) AS g
            WHERE g.grantee = 'clonedb_app'::regrole
        )
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS a
            CROSS JOIN LATERAL aclexplode(a.attacl) AS g
            WHERE a.attrelid = c.oid
                AND g.grantee = 'clonedb_app'::regrole
        )
    )
ORDER BY object;
