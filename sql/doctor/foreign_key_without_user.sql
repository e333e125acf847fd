-- name: find()
-- Foreign keys from one table of people to another, other than to the users, without user_id first.
SELECT
    k.conrelid::regclass::text AS object,
    quote_ident(k.conname) AS key
FROM pg_catalog.pg_constraint AS k
WHERE k.connamespace = 'clonedb'::regnamespace
    AND k.contype = 'f'
    AND k.conparentid = 0
    AND k.confrelid <> 'clonedb.users'::regclass
    AND EXISTS (
        SELECT 1
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = k.confrelid
            AND a.attname = 'user_id'
            AND NOT a.attisdropped
    )
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_attribute AS own
        INNER JOIN pg_catalog.pg_attribute AS theirs
            ON theirs.attrelid = k.confrelid AND theirs.attnum = k.confkey[1]
        WHERE own.attrelid = k.conrelid
            AND own.attnum = k.conkey[1]
            AND own.attname = 'user_id'
            AND theirs.attname = 'user_id'
    )
ORDER BY object, key;
