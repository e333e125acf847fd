-- name: find()
-- The setting by which passwords are stored, as this session has it, and where it comes from.
SELECT
    s.name AS object,
    s.setting AS value,
    CASE s.source
        WHEN 'database' THEN format('ALTER DATABASE %I RESET password_encryption', current_database())
        WHEN 'user' THEN format('ALTER ROLE %I RESET password_encryption', current_user)
        ELSE 'ALTER SYSTEM SET password_encryption = ''scram-sha-256'''
    END AS place
FROM pg_catalog.pg_settings AS s
WHERE s.name = 'password_encryption'
    AND s.setting <> 'scram-sha-256';
