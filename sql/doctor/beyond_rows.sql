-- name: find(append_only)
-- Rights on whole tables, of others than the owner and the DBA. PUBLIC's are found by public_rights.
SELECT
    g.object,
    g.privilege,
    g.grantee::regrole::text AS grantee
FROM (
    SELECT
        c.oid::regclass::text AS object,
        c.relowner AS owner,
        a.privilege_type AS privilege,
        a.grantee
    FROM pg_catalog.pg_class AS c
    CROSS JOIN LATERAL aclexplode(c.relacl) AS a
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
    UNION ALL
    SELECT
        c.oid::regclass::text,
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
WHERE g.privilege ~ '^(TRUNCATE|REFERENCES|TRIGGER|MAINTAIN)'
    AND g.grantee <> g.owner
    AND g.grantee NOT IN (0::oid, 'clonedb_owner'::regrole, 'clonedb_dba'::regrole)
    -- Of the log, TRUNCATE is found by writable_audit.
    AND NOT (
        g.privilege = 'TRUNCATE'
        AND g.object = ANY(
            SELECT format('clonedb.%I', u.name)
            FROM unnest(:append_only::text[]) AS u (name)
        )
    )
ORDER BY g.object, grantee, g.privilege;
