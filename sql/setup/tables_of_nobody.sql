-- The tables that hold no rows of people, with their columns and the classes of those that are not about
-- nobody: for docs/privacy.md.
SELECT
    c.relname::text AS table_name,
    obj_description(c.oid, 'pg_class') AS table_meaning,
    string_agg(
        concat(
            a.attname,
            CASE
                WHEN col_description(c.oid, a.attnum) NOT LIKE '%[personal: none]'
                    THEN concat(
                        ' (',
                        substring(
                            col_description(c.oid, a.attnum) FROM '\[personal: ([a-z]+)\]$'
                        ),
                        ')'
                    )
            END
        ),
        ', '
        ORDER BY a.attnum
    ) AS columns
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND a.attnum > 0
    AND NOT a.attisdropped
    AND c.oid NOT IN (SELECT t.relation::oid FROM clonedb.person_tables() AS t)
GROUP BY c.oid
ORDER BY c.relname;
