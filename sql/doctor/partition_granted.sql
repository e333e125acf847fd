-- name: find()
-- Rights on partitions, or their columns, other than the owner's and what the backup reads with.
SELECT
    g.object,
    g.privilege,
    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END AS grantee
FROM (
    SELECT
        c.oid::regclass::text AS object,
        c.relowner AS owner,
        a.privilege_type AS privilege,
        a.grantee
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relispartition
        AND c.relkind IN ('r', 'p')
    UNION ALL
    SELECT
        c.oid::regclass::text,
        c.relowner,
        format('%s (%I)', a.privilege_type, t.attname),
        a.grantee
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_attribute AS t
        ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relispartition
) AS g
WHERE g.grantee <> g.owner
    AND NOT (g.grantee = 'clonedb_backup'::regrole AND g.privilege = 'SELECT')
ORDER BY g.object, grantee, g.privilege;
