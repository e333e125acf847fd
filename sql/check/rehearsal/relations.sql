-- Every table, view, sequence and index that is not PostgreSQL's or the bookkeeping of migrations:
-- what it is a part of, which file holds it, and what this session did to it since it last told the
-- statistics. `whole` is the table that an index or a month belongs to, `root` the index over all
-- months of which an index is one month's.
SELECT
    c.oid::bigint AS relation,
    c.relkind::text AS kind,
    c.relfilenode::bigint AS file,
    i.indrelid::bigint AS heap,
    t.oid::bigint AS whole,
    CASE WHEN tn.nspname = 'clonedb' THEN t.relname ELSE concat(tn.nspname, '.', t.relname) END AS table_name,
    r.oid::bigint AS root,
    r.relname AS root_name,
    pg_stat_get_xact_numscans(c.oid) AS scans,
    pg_stat_get_xact_tuples_returned(c.oid) AS rows_read,
    pg_stat_get_xact_tuples_inserted(c.oid)
    + pg_stat_get_xact_tuples_updated(c.oid)
    + pg_stat_get_xact_tuples_deleted(c.oid) AS rows_written
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_index AS i ON i.indexrelid = c.oid
INNER JOIN pg_catalog.pg_class AS t
    ON t.oid = coalesce(pg_partition_root(coalesce(i.indrelid, c.oid)), i.indrelid, c.oid)
INNER JOIN pg_catalog.pg_namespace AS tn ON tn.oid = t.relnamespace
INNER JOIN pg_catalog.pg_class AS r ON r.oid = coalesce(pg_partition_root(c.oid), c.oid)
WHERE n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema'
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S', 'i', 'I')
    AND NOT (n.nspname = 'public' AND t.relname ~ '^(_?yoyo_|clonedb_migration_checksums)');
