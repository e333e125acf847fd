-- name: find()
-- Memberships of clonedb's logins, and of their members, in roles that are more than themselves.
WITH RECURSIVE client (role, kind) AS (
    SELECT
        r.oid,
        r.rolname
    FROM pg_catalog.pg_roles AS r
    WHERE r.rolname IN (
        'clonedb_app', 'clonedb_worker', 'clonedb_readonly', 'clonedb_backup', 'clonedb_dba'
    )
    UNION
    SELECT
        m.member,
        client.kind
    FROM client
    INNER JOIN pg_catalog.pg_auth_members AS m ON m.roleid = client.role
    INNER JOIN pg_catalog.pg_roles AS r ON r.oid = m.member
    WHERE NOT r.rolsuper
        -- People who look after the data may have other roles as well.
        AND client.kind <> 'clonedb_dba'
        -- From 16 on whoever makes a role is a member that may only pass it on.
        AND (
            coalesce((to_jsonb(m) ->> 'set_option')::boolean, true)
            OR coalesce((to_jsonb(m) ->> 'inherit_option')::boolean, true)
        )
)

SELECT DISTINCT
    m.member::regrole::text AS object,
    m.roleid::regrole::text AS granted
FROM client
INNER JOIN pg_catalog.pg_auth_members AS m ON m.member = client.role
INNER JOIN pg_catalog.pg_roles AS r ON r.oid = m.roleid
WHERE r.rolsuper
    OR r.rolbypassrls
    OR r.rolcreaterole
    OR r.rolreplication
    OR r.rolname IN ('clonedb_owner', 'clonedb_migrator')
    OR client.kind = 'clonedb_app'
    AND r.rolname IN ('clonedb_worker', 'clonedb_readonly', 'clonedb_backup', 'clonedb_dba')
    OR r.rolname IN (
        'azure_pg_admin',
        'cloudsqlsuperuser',
        'pg_create_subscription',
        'pg_execute_server_program',
        'pg_maintain',
        'pg_read_all_data',
        'pg_read_server_files',
        'pg_write_all_data',
        'pg_write_server_files',
        'rds_superuser'
    )
ORDER BY object, granted;
