-- name: find()
-- What the app, the worker, readonly, the backup, and logins that are members of them own here.
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
    i.identity AS object,
    upper(i.type) AS kind,
    d.refobjid::regrole::text AS owner
FROM pg_catalog.pg_shdepend AS d
INNER JOIN client ON client.role = d.refobjid
INNER JOIN pg_catalog.pg_roles AS r ON r.oid = client.role AND NOT r.rolsuper
CROSS JOIN LATERAL pg_identify_object(d.classid, d.objid, d.objsubid) AS i
WHERE d.refclassid = 'pg_catalog.pg_authid'::regclass
    AND d.deptype = 'o'
    AND (
        d.dbid = (
            SELECT b.oid
            FROM pg_catalog.pg_database AS b
            WHERE b.datname = current_database()
        )
        OR d.classid = 'pg_catalog.pg_database'::regclass AND i.identity = quote_ident(
            current_database()
        )
    )
ORDER BY object, owner;
