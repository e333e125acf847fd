-- name: find()
-- Rights on partitions other than the owner's and what the backup reads with.
SELECT
    c.oid::regclass::text AS object,
    a.privilege_type AS privilege,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relispartition
    AND c.relkind IN ('r', 'p')
    AND a.grantee <> c.relowner
    AND NOT (a.grantee = 'clonedb_backup'::regrole AND a.privilege_type = 'SELECT')
ORDER BY object, grantee, privilege;
