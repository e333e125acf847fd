-- name: find()
-- Policies of which a part calls nothing that could know the caller.
WITH part AS (
    SELECT
        p.oid,
        p.polrelid,
        p.polname,
        x.expression
    FROM pg_catalog.pg_policy AS p
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
    CROSS JOIN LATERAL (
        VALUES
        (pg_get_expr(p.polqual, p.polrelid)),
        (pg_get_expr(p.polwithcheck, p.polrelid))
    ) AS x (expression)
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND p.polpermissive
        AND x.expression <> 'true'
        AND EXISTS (
            SELECT 1
            FROM pg_catalog.pg_depend AS d
            WHERE d.classid = 'pg_catalog.pg_policy'::regclass
                AND d.objid = p.oid
                AND d.refclassid = 'pg_catalog.pg_class'::regclass
                AND d.refobjid = p.polrelid
                AND d.refobjsubid > 0
        )
        AND NOT p.polroles <@ ARRAY(
            SELECT r.oid
            FROM pg_catalog.pg_roles AS r
            WHERE r.rolname IN (
                'clonedb_owner',
                'clonedb_worker',
                'clonedb_dba',
                'clonedb_backup',
                'clonedb_readonly'
            )
        )
)

SELECT DISTINCT
    part.polrelid::regclass::text AS object,
    quote_ident(part.polname) AS policy
FROM part
WHERE part.expression !~ 'current_setting\(|CURRENT_USER|SESSION_USER|CURRENT_ROLE'
    AND part.expression !~ '= ''00000000-0000-0000-0000-000000000000''::uuid'
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_depend AS d
        INNER JOIN pg_catalog.pg_proc AS f ON f.oid = d.refobjid
        WHERE d.classid = 'pg_catalog.pg_policy'::regclass
            AND d.objid = part.oid
            AND d.refclassid = 'pg_catalog.pg_proc'::regclass
            AND f.provolatile <> 'i'
            AND position(f.proname IN part.expression) > 0
    )
ORDER BY object, policy;
