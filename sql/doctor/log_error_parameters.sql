-- name: find()
-- The setting by which failed statements log their parameters, as this session has it.
SELECT
    quote_ident(current_database()) AS object,
    s.setting AS value
FROM pg_catalog.pg_settings AS s
WHERE s.name = 'log_parameter_max_length_on_error'
    AND s.setting <> '0';
