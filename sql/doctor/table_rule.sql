-- name: find()
-- Rules of tables; the one that makes a view a view is no such rule.
SELECT
    u.ev_class::regclass::text AS object,
    quote_ident(u.rulename) AS rule
FROM pg_catalog.pg_rewrite AS u
INNER JOIN pg_catalog.pg_class AS c ON c.oid = u.ev_class
WHERE c.relnamespace = 'clonedb'::regnamespace
    AND u.rulename <> '_RETURN'
ORDER BY object, rule;
