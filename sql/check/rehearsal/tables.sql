-- The tables that are not PostgreSQL's, in the order of their making, without the bookkeeping of
-- migrations and without months, which have their table's rows.
SELECT CASE WHEN n.nspname = 'clonedb' THEN c.relname ELSE concat(n.nspname, '.', c.relname) END AS name
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND NOT (n.nspname = 'public' AND c.relname ~ '^(_?yoyo_|clonedb_migration_checksums)')
ORDER BY c.oid;
