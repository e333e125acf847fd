-- name: find()
-- UPDATE on sequences, of others than the owner.
SELECT
    c.oid::regclass::text AS object,
    a.grantee::regrole::text AS grantee
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL aclexplode(c.relacl) AS a
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind = 'S'
    AND a.privilege_type = 'UPDATE'
    AND a.grantee NOT IN (0::oid, c.relowner)
ORDER BY object, grantee;
