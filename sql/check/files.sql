-- The files of schema clonedb's tables and indexes.
SELECT
    c.oid::bigint AS relation,
    c.relname AS name,
    c.relkind::text AS kind,
    pg_relation_filepath(c.oid) AS path,
    (SELECT i.indrelid::bigint FROM pg_catalog.pg_index AS i WHERE i.indexrelid = c.oid) AS indexed
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'i', 'I');
