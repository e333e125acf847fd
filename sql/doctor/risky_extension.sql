-- name: find()
-- Extensions that connect, read files, run code of the server's account, or read raw pages.
SELECT quote_ident(e.extname) AS object
FROM pg_catalog.pg_extension AS e
WHERE e.extname IN (
    'adminpack',
    'dblink',
    'file_fdw',
    'http',
    'pageinspect',
    'pg_net',
    'plperlu',
    'plpython3u',
    'plsh',
    'pltclu',
    'postgres_fdw',
    'tds_fdw'
)
ORDER BY object;
