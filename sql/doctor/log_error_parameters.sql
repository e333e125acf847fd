-- name: find()
-- The setting by which failed statements log their parameters: the server's, or the database's own.
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
    quote_ident(current_database()) AS object,
    coalesce(own.value, s.setting) AS value
FROM pg_catalog.pg_settings AS s
LEFT JOIN own ON own.name = s.name
WHERE s.name = 'log_parameter_max_length_on_error'
    AND coalesce(own.value, s.setting) <> '0';
