-- Every function: whose rights it runs with, and what a NULL among its arguments does.
SELECT
    p.oid::bigint AS function,
    n.nspname AS schema,
    p.proname AS name,
    pg_get_function_identity_arguments(p.oid) AS arguments,
    p.proisstrict AS is_strict,
    p.prosecdef AS as_owner,
    pg_get_userbyid(p.proowner) AS owner,
    p.proleakproof AS leakproof,
    p.provolatile = 'v' AS is_volatile
FROM pg_catalog.pg_proc AS p
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = p.pronamespace;
