-- name: find()
-- The server, where it has no TLS and listens beyond its own machine.
SELECT
    'listen_addresses' AS object,
    current_setting('listen_addresses') AS addresses
WHERE current_setting('ssl') = 'off'
    AND EXISTS (
        SELECT 1
        FROM string_to_table(current_setting('listen_addresses'), ',') AS a (address)
        WHERE trim(a.address) NOT IN ('', 'localhost', '127.0.0.1', '::1')
    );
