-- Every operator that PostgreSQL brings.
SELECT
    o.oid::bigint AS operator,
    o.oprname AS name,
    o.oprleft::bigint AS left_type,
    o.oprright::bigint AS right_type,
    n.nspname AS schema
FROM pg_catalog.pg_operator AS o
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = o.oprnamespace;
