-- name: find()
-- Relations, functions and types that were made without becoming clonedb_owner first. What logins of
-- services own, and definer functions of superusers, are findings of their own.
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
),

owned (identity, kind, owner) AS (
    SELECT
        c.oid::regclass::text,
        CASE c.relkind
            WHEN 'v' THEN 'VIEW'
            WHEN 'm' THEN 'MATERIALIZED VIEW'
            WHEN 'S' THEN 'SEQUENCE'
            WHEN 'f' THEN 'FOREIGN TABLE'
            ELSE 'TABLE'
        END,
        c.relowner
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p', 'v', 'm', 'S', 'f')
        -- The sequence of a column goes with its table.
        AND NOT EXISTS (
            SELECT 1
            FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_class'::regclass
                AND d.objid = c.oid
                AND d.refclassid = 'pg_catalog.pg_class'::regclass
                AND d.deptype IN ('a', 'i')
                AND c.relkind = 'S'
        )
    UNION ALL
    SELECT
        f.oid::regprocedure::text,
        'ROUTINE',
        f.proowner
    FROM pg_catalog.pg_proc AS f
    INNER JOIN pg_catalog.pg_roles AS r ON r.oid = f.proowner
    WHERE f.pronamespace = 'clonedb'::regnamespace
        AND NOT (f.prosecdef AND (r.rolsuper OR r.rolbypassrls))
    UNION ALL
    SELECT
        y.oid::regtype::text,
        'TYPE',
        y.typowner
    FROM pg_catalog.pg_type AS y
    WHERE y.typnamespace = 'clonedb'::regnamespace
        AND y.typtype IN ('d', 'e', 'r')
    UNION ALL
    SELECT
        quote_ident(n.nspname),
        'SCHEMA',
        n.nspowner
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname = 'clonedb'
)

SELECT
    owned.identity AS object,
    owned.kind,
    owned.owner::regrole::text AS owner
FROM owned
WHERE owned.owner <> 'clonedb_owner'::regrole
    AND owned.owner NOT IN (
        SELECT client.role
        FROM client
        INNER JOIN pg_catalog.pg_roles AS r ON r.oid = client.role AND NOT r.rolsuper
    )
ORDER BY object;
