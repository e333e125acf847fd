-- Every index of schema clonedb: what is unique, and whose partition it is.
SELECT
    i.indexrelid::bigint AS relation,
    x.relname AS name,
    i.indrelid::bigint AS table_oid,
    i.indisunique AS is_unique,
    pg_get_expr(i.indpred, i.indrelid) AS predicate,
    i.indkey::smallint[]::int[] AS columns,
    i.indnkeyatts::int AS key_columns,
    (SELECT h.inhparent::bigint FROM pg_catalog.pg_inherits AS h WHERE h.inhrelid = i.indexrelid) AS parent
FROM pg_catalog.pg_index AS i
INNER JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = x.relnamespace
WHERE n.nspname <> 'pg_toast'
    AND n.nspname <> 'pg_catalog'
ORDER BY x.relname;
