-- name: find()
-- The server, where it has no TLS and listens beyond its own machine.
SELECT
    l.name AS object,
    l.setting AS addresses
FROM pg_catalog.pg_settings AS l
INNER JOIN pg_catalog.pg_settings AS s ON s.name = 'ssl' AND s.setting = 'off'
WHERE l.name = 'listen_addresses'
    AND EXISTS (
        SELECT 1
        FROM string_to_table(l.setting, ',') AS a (address)
        WHERE trim(a.address) NOT IN ('', 'localhost', '127.0.0.1', '::1')
    );
