-- name: find()
-- Indexes that another one replaces: equal in columns, order, operators, expressions and condition.
-- The one that stays is a key, or unique, or the older.
WITH described AS (
    SELECT
        i.indexrelid,
        i.indrelid,
        concat_ws(
            ' ',
            x.relam,
            i.indkey,
            i.indclass,
            i.indcollation,
            i.indoption,
            pg_get_expr(i.indexprs, i.indrelid),
            '/',
            pg_get_expr(i.indpred, i.indrelid)
        ) AS signature,
        (k.oid IS NULL, NOT i.indisunique, i.indexrelid) AS rank,
        k.oid AS constraint_oid
    FROM pg_catalog.pg_index AS i
    INNER JOIN pg_catalog.pg_class AS x ON x.oid = i.indexrelid
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = i.indrelid
    LEFT JOIN pg_catalog.pg_constraint AS k
        ON k.conindid = i.indexrelid AND k.contype IN ('p', 'u', 'x')
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
        AND i.indisvalid
)

SELECT DISTINCT ON (spare.indexrelid)
    spare.indexrelid::regclass::text AS object,
    kept.indexrelid::regclass::text AS other
FROM described AS spare
INNER JOIN described AS kept
    ON kept.indrelid = spare.indrelid
    AND kept.signature = spare.signature
    AND kept.rank < spare.rank
WHERE spare.constraint_oid IS NULL
ORDER BY spare.indexrelid, kept.rank;
