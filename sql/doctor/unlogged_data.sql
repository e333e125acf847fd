-- name: find(unlogged)
-- Unlogged tables that are not declared as such.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND c.relpersistence = 'u'
    AND c.relname <> ALL(:unlogged::text[])
ORDER BY object;
