-- Who has which right on a column of schema clonedb, and on a table as a whole.
SELECT
    r.rolname AS role,
    c.oid::bigint AS relation,
    a.attnum::int AS number,
    p.privilege
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > -8 AND NOT a.attisdropped
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE')) AS p (privilege)
CROSS JOIN pg_catalog.pg_roles AS r
WHERE n.nspname IN ('clonedb', 'public')
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND NOT c.relispartition
    AND r.rolname = ANY(ARRAY['clonedb_app', 'clonedb_worker', 'clonedb_readonly', 'clonedb_backup', 'clonedb_dba'])
    AND a.attnum > 0
    AND has_column_privilege(r.oid, c.oid, a.attnum, p.privilege)
UNION ALL
SELECT
    r.rolname,
    c.oid::bigint,
    0,
    p.privilege
FROM pg_catalog.pg_class AS c
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = c.relnamespace
CROSS JOIN (VALUES ('SELECT'), ('INSERT'), ('UPDATE'), ('DELETE')) AS p (privilege)
CROSS JOIN pg_catalog.pg_roles AS r
WHERE n.nspname IN ('clonedb', 'public')
    AND c.relkind IN ('r', 'p', 'v', 'm')
    AND NOT c.relispartition
    AND r.rolname = ANY(ARRAY['clonedb_app', 'clonedb_worker', 'clonedb_readonly', 'clonedb_backup', 'clonedb_dba'])
    AND CASE p.privilege
        WHEN 'DELETE' THEN has_table_privilege(r.oid, c.oid, 'DELETE')
        ELSE has_table_privilege(r.oid, c.oid, p.privilege)
            OR has_any_column_privilege(r.oid, c.oid, p.privilege)
    END
UNION ALL
SELECT
    r.rolname,
    f.oid::bigint,
    -1,
    'EXECUTE'
FROM pg_catalog.pg_proc AS f
INNER JOIN pg_catalog.pg_namespace AS n ON n.oid = f.pronamespace
CROSS JOIN pg_catalog.pg_roles AS r
WHERE n.nspname NOT IN ('information_schema', 'pg_catalog')
    AND r.rolname = ANY(ARRAY['clonedb_app', 'clonedb_worker', 'clonedb_readonly', 'clonedb_backup', 'clonedb_dba'])
    AND has_function_privilege(r.oid, f.oid, 'EXECUTE');
