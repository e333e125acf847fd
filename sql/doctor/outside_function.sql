-- name: find()
-- Functions of the server for files, and functions in untrusted languages, that a login was given.
SELECT
    f.oid::regprocedure::text AS object,
    CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE a.grantee::regrole::text END AS grantee
FROM pg_catalog.pg_proc AS f
INNER JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
WHERE a.grantee <> f.proowner
    AND (a.grantee = 0 OR a.grantee::regrole::text !~ '^"?pg_')
    AND (
        NOT (l.lanpltrusted OR l.lanname IN ('internal', 'c'))
        OR f.pronamespace = 'pg_catalog'::regnamespace AND f.proname IN (
            'lo_export',
            'lo_import',
            'pg_file_read',
            'pg_file_rename',
            'pg_file_unlink',
            'pg_file_write',
            'pg_ls_dir',
            'pg_read_binary_file',
            'pg_read_file',
            'pg_stat_file'
        )
    )
ORDER BY object, grantee;
