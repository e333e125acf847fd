-- name: find()
-- Tables, views and columns without a comment. A partition has its table's.
SELECT
    c.oid::regclass::text AS object,
    CASE c.relkind
        WHEN 'v' THEN 'VIEW'
        WHEN 'm' THEN 'MATERIALIZED VIEW'
        WHEN 'f' THEN 'FOREIGN TABLE'
        ELSE 'TABLE'
    END AS kind
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT c.relispartition
    AND obj_description(c.oid, 'pg_class') IS NULL
UNION ALL
SELECT
    format('%s.%I', c.oid::regclass, a.attname) AS object,
    'COLUMN' AS kind
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    AND NOT c.relispartition
    AND a.attnum > 0
    AND NOT a.attisdropped
    AND col_description(c.oid, a.attnum) IS NULL
ORDER BY object;
