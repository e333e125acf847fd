-- name: find(append_only)
-- INSERT, UPDATE and DELETE of readonly and the backup.
SELECT
    g.object,
    g.privilege,
    g.grantee::regrole::text AS grantee
FROM (
    SELECT
        c.oid::regclass::text AS object,
        a.privilege_type AS privilege,
        a.grantee
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
        AND c.relname <> ALL(:append_only::text[])
        AND a.privilege_type IN ('INSERT', 'UPDATE', 'DELETE')
    UNION ALL
    SELECT
        c.oid::regclass::text,
        format('%s (%I)', a.privilege_type, t.attname),
        a.grantee
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_attribute AS t
        ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
        AND c.relname <> ALL(:append_only::text[])
        AND a.privilege_type IN ('INSERT', 'UPDATE')
) AS g
WHERE g.grantee IN ('clonedb_readonly'::regrole, 'clonedb_backup'::regrole)
ORDER BY g.object, grantee, g.privilege;
