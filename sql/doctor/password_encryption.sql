-- name: find()
-- The setting by which passwords are stored: the server's, or the database's own.
WITH own (name, value) AS (
    SELECT
        split_part(u.entry, '=', 1),
        substring(u.entry FROM '=(.*)$')
    FROM pg_catalog.pg_db_role_setting AS s
    INNER JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) AS u (entry)
    WHERE s.setrole = 0
        AND d.datname = current_database()
)

SELECT
    s.name AS object,
    x.value,
    CASE
        WHEN own.value IS NULL THEN 'ALTER SYSTEM SET password_encryption = ''scram-sha-256'''
        ELSE format('ALTER DATABASE %I RESET password_encryption', current_database())
    END AS place
FROM (
    VALUES ('password_encryption')
) AS s (name)
LEFT JOIN own ON own.name = s.name
CROSS JOIN LATERAL (
    VALUES (coalesce(own.value, current_setting(s.name)))
) AS x (value)
WHERE x.value <> 'scram-sha-256';
