-- name: find()
-- Tables whose user_id is not NOT NULL.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND a.attname = 'user_id'
    AND NOT a.attnotnull
ORDER BY object;
