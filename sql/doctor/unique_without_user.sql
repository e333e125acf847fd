-- name: find(keyed_otherwise)
-- Unique indexes, and keys, of tables with a user_id that is not their first column.
SELECT
    i.indrelid::regclass::text AS object,
    quote_ident(x.relname) AS key,
    CASE
        WHEN k.oid IS NOT NULL
            THEN format(
                'ALTER TABLE %s DROP CONSTRAINT %I, ADD %s (user_id, %s);',
                i.indrelid::regclass,
                k.conname,
                CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
                (
                    SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.place)
                    FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
                    INNER JOIN pg_catalog.pg_attribute AS a
                        ON a.attrelid = k.conrelid AND a.attnum = u.attnum
                    WHERE a.attname <> 'user_id'
                )
            )
        ELSE format(
            'DROP INDEX %s; %s;',
            i.indexrelid::regclass,
            regexp_replace(pg_get_indexdef(i.indexrelid), ' USING (\w+) \(', ' USING \1 (user_id, ')
        )
    END AS remedy
FROM pg_catalog.pg_index AS i
INNER JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
INNER JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
LEFT JOIN pg_catalog.pg_constraint AS k
    ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u')
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relname <> ALL(:keyed_otherwise::text[])
    AND NOT c.relispartition
    AND i.indisunique
    AND EXISTS (
        SELECT 1
        FROM pg_catalog.pg_attribute AS a
        WHERE a.attrelid = c.oid
            AND a.attname = 'user_id'
            AND a.attnum <> i.indkey[0]
    )
ORDER BY object, key;
