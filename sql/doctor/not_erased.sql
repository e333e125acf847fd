-- name: find(declared)
-- Tables of people that a deleted user's rows do not leave, and that are not declared.
WITH RECURSIVE reached (relation) AS (
    SELECT 'clonedb.users'::regclass::oid
    UNION
    SELECT k.conrelid
    FROM reached
    INNER JOIN pg_catalog.pg_constraint AS k ON k.confrelid = reached.relation
    WHERE k.contype = 'f'
        AND k.confdeltype = 'c'
        AND (
            k.confrelid = 'clonedb.users'::regclass
            OR EXISTS (
                SELECT 1
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = k.conrelid
                    AND a.attnum = ANY(k.conkey)
                    AND a.attname = 'user_id'
            )
        )
)

SELECT
    c.oid::regclass::text AS object,
    CASE
        WHEN k.oid IS NOT NULL
            THEN format(
                'ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s;',
                c.oid::regclass,
                k.conname,
                k.conname,
                concat(
                    regexp_replace(
                        pg_get_constraintdef(k.oid),
                        ' ON DELETE (RESTRICT|SET NULL|SET DEFAULT|NO ACTION)( \(.*\))?',
                        ''
                    ),
                    ' ON DELETE CASCADE'
                )
            )
        ELSE format(
            'ALTER TABLE %s ADD CONSTRAINT %I FOREIGN KEY (%I) REFERENCES clonedb.users (%I) '
            'ON DELETE CASCADE;',
            c.oid::regclass,
            concat(c.relname, '_user_exists'),
            own.attname,
            CASE own.attname WHEN 'user_id' THEN 'id' ELSE 'subject_ref' END
        )
    END AS remedy
FROM pg_catalog.pg_class AS c
LEFT JOIN pg_catalog.pg_constraint AS k
    ON k.conrelid = c.oid AND k.contype = 'f' AND k.confrelid = 'clonedb.users'::regclass
LEFT JOIN LATERAL (
    SELECT a.attname
    FROM pg_catalog.pg_attribute AS a
    WHERE a.attrelid = c.oid
        AND a.attname IN ('user_id', 'subject_ref')
        AND NOT a.attisdropped
    ORDER BY a.attname DESC
    LIMIT 1
) AS own ON true
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'p')
    AND NOT c.relispartition
    AND c.relname <> ALL(:declared::text[])
    AND (own.attname IS NOT NULL OR k.oid IS NOT NULL)
    AND c.oid NOT IN (SELECT reached.relation FROM reached)
ORDER BY object;
