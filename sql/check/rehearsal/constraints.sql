-- The constraints that all rows of a table are known to keep; months have their table's.
SELECT
    k.oid::bigint AS key,
    k.conname AS name,
    k.conrelid::bigint AS relation
FROM pg_catalog.pg_constraint AS k
INNER JOIN pg_catalog.pg_class AS c ON c.oid = k.conrelid
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
WHERE k.convalidated
    AND k.contype IN ('c', 'f', 'n')
    AND NOT c.relispartition
    AND n.nspname !~ '^pg_'
    AND n.nspname <> 'information_schema';
