-- name: find()
-- Rights of PUBLIC on everything but functions and partitions, whose are findings of their own.
SELECT
    quote_ident(n.nspname) AS object,
    'SCHEMA' AS kind,
    a.privilege_type AS privilege
FROM pg_catalog.pg_namespace AS n
CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
WHERE n.nspname = 'clonedb'
    AND a.grantee = 0
UNION ALL
SELECT
    c.oid::regclass::text AS object,
    CASE c.relkind WHEN 'S' THEN 'SEQUENCE' ELSE 'TABLE' END AS kind,
    a.privilege_type AS privilege
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND NOT c.relispartition
    AND c.relkind <> 'm'
    AND a.grantee = 0
UNION ALL
SELECT
    c.oid::regclass::text AS object,
    'TABLE' AS kind,
    format('%s (%I)', a.privilege_type, t.attname) AS privilege
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_attribute AS t
    ON t.attrelid = c.oid AND t.attacl IS NOT NULL
CROSS JOIN LATERAL aclexplode(t.attacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND NOT c.relispartition
    AND a.grantee = 0
ORDER BY object, privilege;
