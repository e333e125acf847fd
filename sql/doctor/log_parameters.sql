-- name: find()
-- Settings that log statements, where the parameters are logged with them: the server's, unless the
-- database has its own, and what roles set for themselves.
WITH own (name, value) AS (
    SELECT
        split_part(u.entry, '=', 1),
        substring(u.entry FROM '=(.*)$')
    FROM pg_catalog.pg_db_role_setting AS s
    INNER JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    CROSS JOIN LATERAL unnest(s.setconfig) AS u (entry)
    WHERE s.setrole = 0
        AND d.datname = current_database()
),

setting AS (
    SELECT
        s.name,
        coalesce(own.value, current_setting(s.name)) AS value
    FROM unnest(
        ARRAY[
            'log_min_duration_sample',
            'log_min_duration_statement',
            'log_parameter_max_length',
            'log_statement',
            'log_transaction_sample_rate'
        ]
    ) AS s (name)
    LEFT JOIN own ON own.name = s.name
),

logging AS (
    SELECT format('%s = %s', setting.name, setting.value) AS reason
    FROM setting
    WHERE setting.name = 'log_statement' AND setting.value IN ('mod', 'all')
        OR setting.name IN ('log_min_duration_statement', 'log_min_duration_sample')
        AND setting.value <> '-1'
        OR setting.name = 'log_transaction_sample_rate' AND setting.value <> '0'
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
    setting.value,
    string_agg(logging.reason, ', ' ORDER BY logging.reason) AS reasons
FROM setting
CROSS JOIN logging
WHERE setting.name = 'log_parameter_max_length'
    AND setting.value <> '0'
GROUP BY setting.value;
