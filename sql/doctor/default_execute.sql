-- name: find()
-- The owner, where its default privileges leave EXECUTE to PUBLIC.
SELECT r.oid::regrole::text AS object
FROM pg_catalog.pg_roles AS r
WHERE r.rolname = 'clonedb_owner'
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_default_acl AS d
        WHERE d.defaclrole = r.oid
            AND d.defaclnamespace = 0
            AND d.defaclobjtype = 'f'
            AND NOT EXISTS (
                SELECT 1
                FROM aclexplode(d.defaclacl) AS a
                WHERE a.grantee = 0
            )
    );
