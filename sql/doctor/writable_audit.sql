-- name: find(append_only, erasable)
-- UPDATE, DELETE and TRUNCATE on the log and its seals, and all but DELETE on its personal details.
SELECT
    g.object,
    g.privilege,
    CASE g.grantee WHEN 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END AS grantee
FROM (
    SELECT
        c.oid::regclass::text AS object,
        c.relname,
        c.relowner AS owner,
        a.privilege_type AS privilege,
        a.grantee
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
    UNION ALL
    SELECT
        c.oid::regclass::text,
        c.relname,
        c.relowner,
        format('%s (%I)', a.privilege_type, t.attname),
        a.grantee
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_attribute AS t
        ON t.attrelid = c.oid AND t.attacl IS NOT NULL
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
) AS g
WHERE g.grantee <> g.owner
    AND (
        g.relname = ANY(:append_only::text[]) AND g.privilege ~ '^(UPDATE|DELETE|TRUNCATE)'
        OR g.relname = ANY(:erasable::text[]) AND g.privilege ~ '^(UPDATE|TRUNCATE)'
    )
ORDER BY g.object, grantee, g.privilege;
