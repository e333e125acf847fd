-- Every column of the tables, views and composite types of the schemas that are ours.
-- A column is never null where a validated, inherited NOT NULL says so: the flag alone is also set
-- by a constraint that is NOT VALID, or that children need not have. It is demanded where an INSERT
-- that leaves it out is refused.
SELECT
    c.oid::bigint AS relation,
    n.nspname AS schema,
    c.relname AS name,
    c.relkind::text AS kind,
    c.relispartition AS is_partition,
    c.relrowsecurity AS has_policies,
    EXISTS (
        SELECT
        FROM pg_catalog.pg_trigger AS t
        WHERE t.tgrelid = c.oid
            AND NOT t.tgisinternal
    ) AS has_triggers,
    c.relpersistence::text AS persistence,
    (SELECT i.inhparent::bigint FROM pg_catalog.pg_inherits AS i WHERE i.inhrelid = c.oid LIMIT 1) AS parent,
    a.attnum::int AS number,
    a.attname AS column_name,
    a.atttypid::bigint AS type,
    a.atttypmod AS modifier,
    a.attnotnull AND (
        a.attgenerated = 'v'
        OR EXISTS (
            SELECT
            FROM pg_catalog.pg_constraint AS k
            WHERE k.conrelid = c.oid
                AND k.contype = 'n'
                AND k.conkey = ARRAY[a.attnum]
                AND k.convalidated
                AND NOT k.connoinherit
        )
    ) AS never_null,
    a.attnotnull
    AND NOT a.atthasdef
    AND a.attidentity = ''
    AND a.attgenerated = '' AS is_demanded
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid
WHERE n.nspname <> 'information_schema'
    AND n.nspname !~ '^pg_toast'
    AND c.relkind IN ('r', 'p', 'v', 'm', 'f', 'c')
    AND a.attnum > 0
    AND NOT a.attisdropped
ORDER BY n.nspname, c.relname, a.attnum;
