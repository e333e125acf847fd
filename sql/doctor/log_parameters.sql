-- name: find()
-- Settings that log statements, where the parameters are logged with them. Taken from this session,
-- and from what roles set for themselves.
WITH logging AS (
    SELECT format('%s = %s', s.name, s.setting) AS reason
    FROM pg_catalog.pg_settings AS s
    WHERE s.name = 'log_statement' AND s.setting IN ('mod', 'all')
        OR s.name IN ('log_min_duration_statement', 'log_min_duration_sample')
        AND s.setting <> '-1'
        OR s.name = 'log_transaction_sample_rate' AND s.setting <> '0'
    UNION
    SELECT format('%s (%s)', replace(u.entry, '=', ' = '), s.setrole::regrole)
    FROM pg_catalog.pg_db_role_setting AS s
    CROSS JOIN LATERAL unnest(s.setconfig) AS u (entry)
    LEFT JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    WHERE s.setrole <> 0
        AND (s.setdatabase = 0 OR d.datname = current_database())
        AND u.entry ~ '^(log_statement=(mod|all)|log_min_duration_(statement|sample)=[0-9])'
)

SELECT
    quote_ident(current_database()) AS object,
    l.setting AS value,
    string_agg(logging.reason, ', ' ORDER BY logging.reason) AS reasons
FROM pg_catalog.pg_settings AS l
CROSS JOIN logging
WHERE l.name = 'log_parameter_max_length'
    AND l.setting <> '0'
GROUP BY l.setting;
