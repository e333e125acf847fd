-- name: find()
-- Rights on materialized views other than the owner's.
SELECT
    c.oid::regclass::text AS object,
    a.privilege_type AS privilege,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind = 'm'
    AND a.grantee <> c.relowner
ORDER BY object, grantee, privilege;
