-- name: find()
-- Members of the owner, without superusers and the logins that role_membership finds.
SELECT DISTINCT m.member::regrole::text AS object
FROM pg_catalog.pg_auth_members AS m
INNER JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
WHERE m.roleid = 'clonedb_owner'::regrole
    AND NOT r.rolsuper
    AND r.rolname NOT LIKE 'clonedb\_%'
    AND coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
ORDER BY object;
