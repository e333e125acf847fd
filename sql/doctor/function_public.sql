-- name: find()
-- Functions and procedures that PUBLIC may execute.
SELECT f.oid::regprocedure::text AS object
FROM pg_catalog.pg_proc AS f
CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
WHERE f.pronamespace = 'clonedb'::regnamespace
    AND a.grantee = 0
ORDER BY object;
