-- The partitions of each table but its first three, which are as good as all of them.
SELECT
    p.schema,
    p.name
FROM (
    SELECT
        n.nspname AS schema,
        c.relname AS name,
        row_number() OVER (PARTITION BY i.inhparent ORDER BY c.oid) AS place
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
    INNER JOIN pg_catalog.pg_inherits AS i ON i.inhrelid = c.oid
    WHERE c.relispartition
        AND c.relkind = 'r'
) AS p
WHERE p.place > 3;
