-- name: find()
-- Foreign keys without an index on two of their columns, or the only one. User and one more are
-- enough to find the rows.
SELECT
    k.conrelid::regclass::text AS object,
    quote_ident(k.conname) AS key,
    (
        SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY u.place)
        FROM unnest(k.conkey) WITH ORDINALITY AS u (attnum, place)
        INNER JOIN pg_catalog.pg_attribute AS a
            ON a.attrelid = k.conrelid AND a.attnum = u.attnum
    ) AS columns
FROM pg_catalog.pg_constraint AS k
WHERE k.connamespace = 'clonedb'::regnamespace
    AND k.contype = 'f'
    AND k.conparentid = 0
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = k.conrelid
            AND i.indisvalid
            AND (
                i.indpred IS NULL
                OR pg_get_expr(i.indpred, i.indrelid) ~ '^\(\w+ IS NOT NULL\)$'
            )
            AND i.indkey[0] = ANY(k.conkey)
            AND (cardinality(k.conkey) = 1 OR i.indkey[1] = ANY(k.conkey))
    )
ORDER BY object, key;
