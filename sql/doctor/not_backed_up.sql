-- name: find()
-- Tables, partitions and sequences that a dump would fail on, or find empty.
SELECT
    c.oid::regclass::text AS object,
    CASE
        WHEN x.may_read THEN 'sees none of its rows: no policy is for it'
        ELSE 'may not read it, and pg_dump fails'
    END AS reason,
    concat_ws(
        ' ',
        CASE
            WHEN NOT x.may_read
                THEN format('GRANT SELECT ON %s TO clonedb_backup;', c.oid::regclass)
        END,
        CASE
            WHEN NOT x.sees_rows
                THEN format(
                    'CREATE POLICY every_row_of_backup ON %s FOR SELECT TO clonedb_backup '
                    'USING (true);',
                    c.oid::regclass
                )
        END
    ) AS remedy
FROM pg_catalog.pg_class AS c
CROSS JOIN LATERAL (
    VALUES
    (
        has_table_privilege('clonedb_backup', c.oid, 'SELECT'),
        NOT c.relrowsecurity
        OR NOT EXISTS (
            -- Without any it is found by no_policy.
            SELECT 1
            FROM pg_catalog.pg_policy AS p
            WHERE p.polrelid = c.oid
        )
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_policy AS p
            WHERE p.polrelid = c.oid
                AND p.polpermissive
                AND p.polcmd IN ('r', '*')
                AND pg_get_expr(p.polqual, p.polrelid) = 'true'
                AND ('clonedb_backup'::regrole = ANY(p.polroles) OR 0::oid = ANY(p.polroles))
        )
    )
) AS x (may_read, sees_rows)
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p', 'S')
    AND NOT (x.may_read AND x.sees_rows)
ORDER BY object;
