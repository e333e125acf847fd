-- name: find()
-- Constraints that are NOT VALID or, from 18 on, NOT ENFORCED.
SELECT
    k.conrelid::regclass::text AS object,
    quote_ident(k.conname) AS name,
    CASE
        WHEN coalesce((to_jsonb(k) ->> 'conenforced')::boolean, true)
            THEN format('ALTER TABLE %s VALIDATE CONSTRAINT %I;', k.conrelid::regclass, k.conname)
        WHEN k.contype = 'f'
            THEN format(
                'ALTER TABLE %s ALTER CONSTRAINT %I ENFORCED;', k.conrelid::regclass, k.conname
            )
        ELSE format(
            'ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s;',
            k.conrelid::regclass,
            k.conname,
            k.conname,
            regexp_replace(pg_get_constraintdef(k.oid), ' NOT (VALID|ENFORCED)', '', 'g')
        )
    END AS remedy
FROM pg_catalog.pg_constraint AS k
WHERE k.connamespace = 'clonedb'::regnamespace
    AND k.conrelid <> 0
    AND k.conparentid = 0
    AND NOT k.convalidated
    -- A partition's is its table's.
    AND k.coninhcount = 0
ORDER BY object, name;
