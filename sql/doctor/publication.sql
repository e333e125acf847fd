-- name: find()
-- Publications that contain tables of the schema.
SELECT
    quote_ident(p.pubname) AS object,
    x.what,
    x.remedy
FROM pg_catalog.pg_publication AS p
CROSS JOIN LATERAL (
    SELECT
        'all tables' AS what,
        format('DROP PUBLICATION %I;', p.pubname) AS remedy
    WHERE p.puballtables
    UNION ALL
    SELECT
        r.prrelid::regclass::text,
        format('ALTER PUBLICATION %I DROP TABLE %s;', p.pubname, r.prrelid::regclass)
    FROM pg_catalog.pg_publication_rel AS r
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = r.prrelid
    WHERE r.prpubid = p.oid
        AND c.relnamespace = 'clonedb'::regnamespace
    UNION ALL
    SELECT
        'all tables of clonedb',
        format('ALTER PUBLICATION %I DROP TABLES IN SCHEMA clonedb;', p.pubname)
    FROM pg_catalog.pg_publication_namespace AS n
    WHERE n.pnpubid = p.oid
        AND n.pnnspid = 'clonedb'::regnamespace
) AS x
ORDER BY object, x.what;
