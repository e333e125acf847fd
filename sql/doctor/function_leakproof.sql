-- name: find()
-- Functions outside of the server and its extensions that claim to be leakproof.
SELECT f.oid::regprocedure::text AS object
FROM pg_catalog.pg_proc AS f
WHERE f.proleakproof
    AND f.oid >= 16384
    AND NOT EXISTS (
        SELECT 1
        FROM pg_catalog.pg_depend AS d
        WHERE d.classid = 'pg_catalog.pg_proc'::regclass
            AND d.objid = f.oid
            AND d.deptype = 'e'
    )
ORDER BY object;
