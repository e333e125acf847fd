-- name: find()
-- Powers of clonedb's roles, and of logins that are members of those that services use.
WITH RECURSIVE client (role) AS (
    SELECT r.oid
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname IN ('clonedb_app', 'clonedb_worker', 'clonedb_readonly', 'clonedb_backup')
    UNION
    SELECT m.member
    FROM client
    INNER JOIN pg_catalog.pg_auth_members AS m ON m.roleid = client.role
    -- From 16 on whoever makes a role is a member that may only pass it on.
    WHERE coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
        OR coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
)

SELECT
    r.oid::regrole::text AS object,
    x.power
FROM pg_catalog.pg_roles AS r
CROSS JOIN LATERAL (
    VALUES
    ('SUPERUSER', r.rolsuper),
    ('BYPASSRLS', r.rolbypassrls),
    ('CREATEROLE', r.rolcreaterole),
    ('CREATEDB', r.rolcreatedb),
    ('REPLICATION', r.rolreplication)
) AS x (power, is_given)
WHERE x.is_given
    AND (
        r.rolname IN ('clonedb_owner', 'clonedb_migrator', 'clonedb_dba')
        OR r.oid IN (SELECT client.role FROM client)
    )
ORDER BY object, x.power;
