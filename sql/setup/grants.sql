-- Who may do what: every right on the database, its schema, tables, columns and functions other than
-- the owner's own, every policy, and what is granted by default. A month has the name of its table.
-- For docs/grants.md; as any login:  psql -f sql/setup/grants.sql

WITH relation AS (
    SELECT
        c.oid,
        c.relowner,
        c.relacl,
        c.relispartition,
        CASE
            WHEN c.relispartition THEN format('%s, each month', pg_partition_root(c.oid)::regclass)
            ELSE c.oid::regclass::text
        END AS name
    FROM pg_catalog.pg_class AS c
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
        AND (
            c.relnamespace = 'clonedb'::regnamespace
            -- What yoyo and clonedb remember of migrations.
            OR c.relnamespace = 'public'::regnamespace AND c.relname ~ '^(_?yoyo|clonedb_migration)_'
        )
),

fact (kind, object, role, privilege, detail) AS (
    SELECT
        'database',
        'the database',
        a.grantee,
        a.privilege_type,
        NULL
    FROM pg_catalog.pg_database AS d
    CROSS JOIN LATERAL aclexplode(coalesce(d.datacl, acldefault('d', d.datdba))) AS a
    WHERE d.datname = current_database()
        AND a.grantee <> d.datdba
    UNION ALL
    SELECT
        'schema',
        n.nspname::text,
        a.grantee,
        a.privilege_type,
        NULL
    FROM pg_catalog.pg_namespace AS n
    CROSS JOIN LATERAL aclexplode(n.nspacl) AS a
    WHERE n.nspname = 'clonedb'
        AND a.grantee <> n.nspowner
    UNION ALL
    SELECT
        'table',
        r.name,
        NULL,
        NULL,
        NULL
    FROM relation AS r
    WHERE NOT r.relispartition
    UNION ALL
    SELECT DISTINCT
        'table',
        r.name,
        a.grantee,
        a.privilege_type,
        NULL
    FROM relation AS r
    CROSS JOIN LATERAL aclexplode(r.relacl) AS a
    WHERE a.grantee NOT IN (r.relowner, 'clonedb_owner'::regrole)
    UNION ALL
    SELECT
        'table',
        r.name,
        a.grantee,
        a.privilege_type,
        string_agg(t.attname, ', ' ORDER BY t.attnum)
    FROM relation AS r
    INNER JOIN pg_catalog.pg_attribute AS t ON t.attrelid = r.oid
    CROSS JOIN LATERAL aclexplode(t.attacl) AS a
    WHERE NOT r.relispartition
        AND a.grantee <> r.relowner
    GROUP BY r.name, a.grantee, a.privilege_type
    UNION ALL
    SELECT
        'function',
        f.oid::regprocedure::text,
        NULL,
        CASE WHEN f.prosecdef THEN 'owner' ELSE 'caller' END,
        NULL
    FROM pg_catalog.pg_proc AS f
    WHERE f.pronamespace = 'clonedb'::regnamespace
    UNION ALL
    SELECT
        'function',
        f.oid::regprocedure::text,
        a.grantee,
        a.privilege_type,
        NULL
    FROM pg_catalog.pg_proc AS f
    CROSS JOIN LATERAL aclexplode(coalesce(f.proacl, acldefault('f', f.proowner))) AS a
    WHERE f.pronamespace = 'clonedb'::regnamespace
        AND a.grantee <> f.proowner
    UNION ALL
    SELECT
        'policy',
        r.name,
        u.role,
        p.polname,
        concat_ws(
            ' ',
            CASE p.polcmd
                WHEN 'r' THEN 'SELECT'
                WHEN 'a' THEN 'INSERT'
                WHEN 'w' THEN 'UPDATE'
                WHEN 'd' THEN 'DELETE'
                ELSE 'ALL'
            END,
            CASE WHEN NOT p.polpermissive THEN 'RESTRICTIVE' END,
            'USING ' || pg_get_expr(p.polqual, p.polrelid),
            'WITH CHECK ' || pg_get_expr(p.polwithcheck, p.polrelid)
        )
    FROM pg_catalog.pg_policy AS p
    INNER JOIN relation AS r ON r.oid = p.polrelid
    CROSS JOIN LATERAL unnest(p.polroles) AS u (role)
    WHERE NOT r.relispartition
    UNION ALL
    SELECT
        'default',
        d.defaclrole::regrole::text,
        a.grantee,
        a.privilege_type,
        d.defaclobjtype::text
    FROM pg_catalog.pg_default_acl AS d
    CROSS JOIN LATERAL aclexplode(d.defaclacl) AS a
    UNION ALL
    SELECT
        'member',
        m.member::regrole::text,
        m.roleid,
        NULL,
        NULL
    FROM pg_catalog.pg_auth_members AS m
    WHERE m.roleid::regrole::text ~ '^clonedb_'
)

SELECT
    fact.kind,
    fact.object,
    CASE fact.role WHEN 0 THEN 'PUBLIC' ELSE fact.role::regrole::text END AS role,
    fact.privilege,
    fact.detail
FROM fact;
