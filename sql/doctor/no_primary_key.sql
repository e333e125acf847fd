-- name: find()
-- Tables without a primary key, and one that their columns offer.
SELECT
    c.oid::regclass::text AS object,
    CASE
        WHEN x.names @> '{user_id,id}' THEN 'ADD PRIMARY KEY (user_id, id)'
        WHEN x.names @> '{id}' THEN 'ADD PRIMARY KEY (id)'
        WHEN x.names @> '{user_id}'
            THEN 'ADD COLUMN id uuid NOT NULL DEFAULT clonedb.uuid_v7(), '
                'ADD PRIMARY KEY (user_id, id)'
        ELSE 'ADD COLUMN id uuid NOT NULL DEFAULT clonedb.uuid_v7(), ADD PRIMARY KEY (id)'
    END AS remedy
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL (
    SELECT array_agg(a.attname::text) AS names
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid
        AND a.attnum > 0
        AND NOT a.attisdropped
) AS x
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_index AS i
        WHERE i.indrelid = c.oid
            AND i.indisprimary
    )
ORDER BY object;
