-- name: find()
-- Indexes that are not valid or not ready, and how they are made anew or removed.
SELECT
    i.indexrelid::regclass::text AS object,
    CASE x.relkind
        WHEN 'I' THEN format('DROP INDEX %s;', i.indexrelid::regclass)
        ELSE format('REINDEX INDEX %s;', i.indexrelid::regclass)
    END AS remedy
FROM pg_catalog.pg_index AS i
INNER JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
WHERE x.relnamespace = 'clonedb'::regnamespace
    AND NOT (i.indisvalid AND i.indisready AND i.indislive)
ORDER BY object;
