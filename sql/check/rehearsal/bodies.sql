-- The text of every function of ours, and of every policy under the name of its table.
SELECT
    p.proname AS name,
    pg_get_functiondef(p.oid) AS body,
    NULL::bigint AS relation
FROM pg_catalog.pg_proc AS p
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace
WHERE n.nspname = 'clonedb'
    AND p.prokind IN ('f', 'p')
UNION ALL
SELECT
    p.polname AS name,
    concat_ws(' ', pg_get_expr(p.polqual, p.polrelid), pg_get_expr(p.polwithcheck, p.polrelid)) AS body,
    p.polrelid::bigint AS relation
FROM pg_catalog.pg_policy AS p;
