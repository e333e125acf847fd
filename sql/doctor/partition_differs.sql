-- name: find()
-- Partitions whose policies are not, word for word, those of the table they belong to.
WITH written AS (
    SELECT
        p.polrelid,
        string_agg(
            concat_ws(
                ' ',
                p.polname,
                p.polcmd,
                p.polpermissive,
                ARRAY(
                    SELECT pg_get_userbyid(u.role)
                    FROM unnest(p.polroles) AS u (role)
                    ORDER BY pg_get_userbyid(u.role)
                ),
                pg_get_expr(p.polqual, p.polrelid),
                pg_get_expr(p.polwithcheck, p.polrelid)
            ),
            ';' ORDER BY p.polname
        ) AS policies
    FROM pg_catalog.pg_policy AS p
    GROUP BY p.polrelid
)

SELECT
    c.oid::regclass::text AS object,
    i.inhparent::regclass::text AS parent
FROM pg_catalog.pg_inherits AS i
INNER JOIN pg_catalog.pg_class AS c ON c.oid = i.inhrelid AND c.relispartition
LEFT JOIN written AS own ON own.polrelid = i.inhrelid
INNER JOIN written AS above ON above.polrelid = i.inhparent
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND own.policies IS DISTINCT FROM above.policies
    -- Without any it is found by no_policy.
    AND own.policies IS NOT NULL
ORDER BY object;
