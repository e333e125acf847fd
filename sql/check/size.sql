-- How much the planner believes is there.
SELECT sum(pg_relation_size(c.oid))::bigint
FROM pg_catalog.pg_class AS c
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND c.relkind IN ('r', 'i');
