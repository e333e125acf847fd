-- name: find()
-- Views without security_invoker.
SELECT c.oid::regclass::text AS object
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind = 'v'
    AND NOT EXISTS (
        SELECT 1
        FROM pg_options_to_table(c.reloptions) AS o
        WHERE o.option_name = 'security_invoker'
            AND lower(o.option_value) IN ('true', 'on', 'yes', '1')
    )
ORDER BY object;
