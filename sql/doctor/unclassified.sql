-- name: find(classes)
-- Columns whose comment ends in no class, or in none where a person's rows are. A partition has its
-- table's.
WITH columns AS (
    SELECT
        c.oid,
        a.attname,
        col_description(c.oid, a.attnum) AS comment,
        substring(col_description(c.oid, a.attnum) FROM '\[personal: ([a-z]+)\]$') AS class,
        CASE
            WHEN a.atttypid = 'uuid'::regtype THEN 'identifier'
            WHEN y.typcategory IN ('B', 'D', 'N', 'T') THEN 'behaviour'
            ELSE 'content'
        END AS guess,
        c.relname = 'users'
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS o
            WHERE o.attrelid = c.oid
                AND o.attname IN ('user_id', 'subject_ref')
                AND NOT o.attisdropped
        )
        OR EXISTS (
            SELECT 1
            FROM pg_catalog.pg_constraint AS k
            WHERE k.conrelid = c.oid
                AND k.contype = 'f'
                AND k.confrelid = 'clonedb.users'::regclass
        ) AS is_of_people
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
    INNER JOIN pg_catalog.pg_type AS y ON y.oid = a.atttypid
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
        AND NOT c.relispartition
        AND a.attnum > 0
        AND NOT a.attisdropped
)

SELECT
    format('%s.%I', columns.oid::regclass, columns.attname) AS object,
    CASE
        WHEN columns.class IS NULL THEN 'nobody has said what it tells of a person'
        WHEN columns.class <> ALL(:classes::text[]) THEN format('%s is no class', columns.class)
        ELSE 'it is said to be about nobody, in a table of people'
    END AS defect,
    quote_literal(
        concat(
            coalesce(
                regexp_replace(columns.comment, '\s*\[personal: [a-z]+\]$', ''),
                '(say what it holds)'
            ),
            format(' [personal: %s]', columns.guess)
        )
    ) AS comment,
    columns.guess
FROM columns
WHERE columns.class IS NULL
    OR columns.class <> ALL(:classes::text[])
    OR (columns.class = 'none' AND columns.is_of_people)
ORDER BY object;
