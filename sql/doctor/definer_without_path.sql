-- name: find()
-- Definer functions and procedures whose names a caller can bend.
SELECT f.oid::regprocedure::text AS object
FROM pg_catalog.pg_proc AS f
WHERE f.pronamespace = 'clonedb'::regnamespace
    AND f.prosecdef
    AND f.prokind <> 'a'
    AND NOT EXISTS (
        SELECT 1
        FROM unnest(f.proconfig) AS s (setting)
        WHERE s.setting ~ '^search_path=.*pg_temp"?$'
    )
ORDER BY object;
