-- name: find()
-- Tables with triggers that do not fire for ordinary sessions. A partition's go with its table's.
WITH off AS (
    SELECT
        t.tgrelid,
        count(*) AS count,
        count(*) FILTER (WHERE t.tgisinternal) AS internal
    FROM pg_catalog.pg_trigger AS t
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND t.tgenabled IN ('D', 'R')
    GROUP BY t.tgrelid
)

SELECT
    off.tgrelid::regclass::text AS object,
    off.count,
    off.internal,
    CASE off.internal WHEN 0 THEN 'USER' ELSE 'ALL' END AS which
FROM off
WHERE NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_inherits AS i
        INNER JOIN off AS above ON above.tgrelid = i.inhparent
        WHERE i.inhrelid = off.tgrelid
    )
ORDER BY object;
