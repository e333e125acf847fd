-- name: find()
-- Foreign keys from one table of people to another, other than to the users, without user_id first.
SELECT
    k.conrelid::regclass::text AS object,
    quote_ident(k.conname) AS key,
    format(
        'ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I FOREIGN KEY (user_id, %s) '
        'REFERENCES %s (user_id, %s) ON DELETE %s;',
        k.conrelid::regclass,
        k.conname,
        k.conname,
        x.referring,
        k.confrelid::regclass,
        x.referred,
        CASE k.confdeltype WHEN 'c' THEN 'CASCADE' ELSE 'RESTRICT' END
    ) AS remedy
FROM pg_catalog.pg_constraint AS k
CROSS JOIN LATERAL (
    SELECT
        string_agg(quote_ident(own.attname), ', ' ORDER BY u.place) AS referring,
        string_agg(quote_ident(theirs.attname), ', ' ORDER BY u.place) AS referred
    FROM unnest(k.conkey, k.confkey) WITH ORDINALITY AS u (own, theirs, place)
    INNER JOIN pg_catalog.pg_attribute AS own
        ON own.attrelid = k.conrelid AND own.attnum = u.own
    INNER JOIN pg_catalog.pg_attribute AS theirs
        ON theirs.attrelid = k.confrelid AND theirs.attnum = u.theirs
    WHERE own.attname <> 'user_id'
) AS x
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
