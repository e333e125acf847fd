-- name: find()
-- Policies that name no role.
SELECT
    p.polrelid::regclass::text AS object,
    quote_ident(p.polname) AS policy
FROM pg_catalog.pg_policy AS p
INNER JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND 0::oid = ANY(p.polroles)
ORDER BY object, policy;
