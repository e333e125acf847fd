-- name: find()
-- Grants that are made without anybody deciding, of whichever role makes the object.
SELECT
    d.defaclrole::regrole::text AS object,
    d.defaclrole::regrole::text AS maker,
    CASE d.defaclobjtype
        WHEN 'S' THEN 'SEQUENCES'
        WHEN 'f' THEN 'FUNCTIONS'
        ELSE 'TABLES'
    END AS kind,
    a.privilege_type AS privilege,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee,
    CASE d.defaclnamespace WHEN 0 THEN '' ELSE ' in clonedb' END AS place,
    CASE d.defaclnamespace WHEN 0 THEN '' ELSE ' IN SCHEMA clonedb' END AS schema
FROM pg_catalog.pg_default_acl AS d
CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
WHERE d.defaclnamespace IN (0::oid, 'clonedb'::regnamespace)
    AND d.defaclobjtype IN ('r', 'S', 'f')
    AND a.grantee <> d.defaclrole
    -- What everybody has of new functions unless it is revoked is found by default_execute.
    AND NOT (d.defaclobjtype = 'f' AND d.defaclnamespace = 0 AND a.grantee = 0)
ORDER BY object, kind, grantee, privilege;
