-- The expressions of stored generated columns, as the parser has left them.
SELECT
    d.adrelid::bigint AS relation,
    d.adnum::int AS number,
    d.adbin::text AS expression
FROM pg_catalog.pg_attrdef AS d
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = d.adrelid AND a.attnum = d.adnum
INNER JOIN pg_catalog.pg_class AS c ON c.oid = d.adrelid
WHERE a.attgenerated = 's'
    AND NOT c.relispartition;
