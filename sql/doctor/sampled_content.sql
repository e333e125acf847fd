-- name: find(intimate)
-- Tables and partitions whose intimate columns ANALYZE samples.
SELECT
    c.oid::regclass::text AS object,
    string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns,
    string_agg(format('ALTER COLUMN %I SET STATISTICS 0', a.attname), ', ' ORDER BY a.attnum)
        AS actions
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
LEFT JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'm')
    AND a.attnum > 0
    AND NOT a.attisdropped
    AND a.attstattarget IS DISTINCT FROM 0
    AND substring(
        coalesce(
            (
                SELECT col_description(i.inhparent, p.attnum)
                FROM pg_catalog.pg_attribute AS p
                WHERE p.attrelid = i.inhparent
                    AND p.attname = a.attname
            ),
            col_description(c.oid, a.attnum)
        )
        FROM '\[personal: ([a-z]+)\]$'
    ) = ANY(:intimate::text[])
GROUP BY c.oid
ORDER BY object;
