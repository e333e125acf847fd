-- name: find()
-- Settings, of this database and of clonedb's logins, that nobody is to begin a session with.
SELECT
    CASE s.setrole WHEN 0 THEN quote_ident(d.datname) ELSE s.setrole::regrole::text END AS object,
    x.name,
    x.value,
    CASE
        WHEN s.setrole = 0 THEN format('ALTER DATABASE %I', d.datname)
        WHEN s.setdatabase = 0 THEN format('ALTER ROLE %s', s.setrole::regrole)
        ELSE format('ALTER ROLE %s IN DATABASE %I', s.setrole::regrole, d.datname)
    END AS place
FROM pg_catalog.pg_db_role_setting AS s
CROSS JOIN LATERAL unnest(s.setconfig) AS u (entry)
CROSS JOIN LATERAL (
    VALUES (split_part(u.entry, '=', 1), substring(u.entry FROM '=(.*)$'))
) AS x (name, value)
LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
WHERE (s.setdatabase = 0 OR d.datname = current_database())
    AND (s.setrole = 0 OR s.setrole::regrole::text ~ '^clonedb_|^"clonedb_' OR s.setrole IN (
        SELECT m.member
        FROM pg_catalog.pg_auth_members AS m
        WHERE m.roleid::regrole::text ~ '^clonedb_'
    ))
    AND (
        x.name IN ('clonedb.user_id', 'role', 'session_authorization')
        OR x.name = 'row_security' AND lower(x.value) IN ('off', 'false', 'no', '0')
        OR x.name = 'session_replication_role' AND lower(x.value) <> 'origin'
    )
ORDER BY object, x.name;
