-- name: find()
-- Foreign tables in the schema.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind = 'f'
ORDER BY object;
