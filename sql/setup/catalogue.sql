-- What the catalogue says about schema clonedb: one line of text for each thing, without
-- object ids or anything else that differs between two databases with the same schema. Run it
-- with an empty search_path, so that every name in a definition is qualified.
--
-- `clonedb.migrate.catalogue_digest` hashes it: migrations up, down and up again give the same.
WITH owned_schema AS (
    SELECT
        n.oid,
        n.nspname,
        n.nspowner,
        n.nspacl
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname = 'clonedb'
),

relation AS (
    SELECT
        c.oid,
        c.relname,
        c.relkind,
        c.relpersistence,
        c.relowner,
        c.relacl,
        c.relrowsecurity,
        c.relforcerowsecurity,
        c.reloptions,
        c.relreplident,
        c.relispartition,
        c.relpartbound
    FROM pg_catalog.pg_class AS c
    INNER JOIN owned_schema AS s ON s.oid = c.relnamespace
),

-- Who may do what: rights that were never touched are written out as their default.
grant_list AS (
    SELECT
        g.catalogue,
        g.oid,
        g.part,
        string_agg(
            format(
                '%s=%s%s',
                CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(a.grantee)::text END,
                a.privilege_type,
                CASE WHEN a.is_grantable THEN '*' ELSE '' END
            ),
            -- By name, whose collation is C in every database.
            ',' ORDER BY pg_get_userbyid(a.grantee), a.privilege_type::name
        ) AS grants
    FROM (
        SELECT
            'schema' AS catalogue,
            s.oid,
            0 AS part,
            coalesce(s.nspacl, acldefault('n', s.nspowner)) AS rights
        FROM owned_schema AS s
        UNION ALL
        SELECT
            'relation' AS catalogue,
            r.oid,
            0 AS part,
            coalesce(
                r.relacl,
                CASE r.relkind
                    WHEN 'S' THEN acldefault('s', r.relowner)
                    ELSE acldefault('r', r.relowner)
                END
            ) AS rights
        FROM relation AS r
        UNION ALL
        SELECT
            'relation' AS catalogue,
            t.attrelid AS oid,
            t.attnum AS part,
            t.attacl AS rights
        FROM pg_catalog.pg_attribute AS t
        INNER JOIN relation AS r ON r.oid = t.attrelid
        WHERE t.attacl IS NOT NULL
        UNION ALL
        SELECT
            'function' AS catalogue,
            p.oid,
            0 AS part,
            coalesce(p.proacl, acldefault('f', p.proowner)) AS rights
        FROM pg_catalog.pg_proc AS p
        INNER JOIN owned_schema AS s ON s.oid = p.pronamespace
        UNION ALL
        SELECT
            'type' AS catalogue,
            y.oid,
            0 AS part,
            coalesce(y.typacl, acldefault('T', y.typowner)) AS rights
        FROM pg_catalog.pg_type AS y
        INNER JOIN owned_schema AS s ON s.oid = y.typnamespace
    ) AS g
    CROSS JOIN LATERAL aclexplode(g.rights) AS a
    GROUP BY g.catalogue, g.oid, g.part
),

fact (kind, name, detail) AS (
    SELECT
        'schema',
        s.nspname::text,
        jsonb_build_object(
            'owner', pg_get_userbyid(s.nspowner),
            'grants', (
                SELECT g.grants FROM grant_list AS g
                WHERE g.catalogue = 'schema' AND g.oid = s.oid
            ),
            'comment', obj_description(s.oid, 'pg_namespace')
        )
    FROM owned_schema AS s
    UNION ALL
    SELECT
        'default rights',
        format('%s %s', pg_get_userbyid(d.defaclrole), d.defaclobjtype),
        jsonb_build_object(
            'schema', (
                SELECT s.nspname FROM owned_schema AS s
                WHERE s.oid = d.defaclnamespace
            ),
            'grants', (
                SELECT array_agg(a.entry::text ORDER BY a.entry::text::name)
                FROM unnest(d.defaclacl) AS a (entry)
            )
        )
    FROM pg_catalog.pg_default_acl AS d
    WHERE
        d.defaclnamespace IN (SELECT s.oid FROM owned_schema AS s)
        OR (
            d.defaclnamespace = 0
            AND d.defaclrole IN (SELECT s.nspowner FROM owned_schema AS s)
        )
    UNION ALL
    SELECT
        'relation',
        r.relname::text,
        jsonb_build_object(
            'kind', r.relkind,
            'persistence', r.relpersistence,
            'owner', pg_get_userbyid(r.relowner),
            'grants', (
                SELECT g.grants FROM grant_list AS g
                WHERE g.catalogue = 'relation' AND g.oid = r.oid AND g.part = 0
            ),
            'row security', r.relrowsecurity,
            'row security forced', r.relforcerowsecurity,
            'options', r.reloptions,
            'replica identity', r.relreplident,
            'partitioned by', CASE WHEN r.relkind = 'p' THEN pg_get_partkeydef(r.oid) END,
            'partition', pg_get_expr(r.relpartbound, r.oid),
            'inherits', (
                SELECT array_agg(i.inhparent::regclass::text ORDER BY i.inhseqno)
                FROM pg_catalog.pg_inherits AS i
                WHERE i.inhrelid = r.oid
            ),
            'view', CASE WHEN r.relkind IN ('v', 'm') THEN pg_get_viewdef(r.oid) END,
            'comment', obj_description(r.oid, 'pg_class')
        )
    FROM relation AS r
    WHERE r.relkind NOT IN ('i', 'I')
    UNION ALL
    SELECT
        'column',
        -- The place among the living columns: a dropped one leaves a gap in attnum.
        format(
            '%s %s',
            r.relname,
            to_char(row_number() OVER (PARTITION BY t.attrelid ORDER BY t.attnum), 'FM0000')
        ),
        jsonb_build_object(
            'name', t.attname,
            'type', format_type(t.atttypid, t.atttypmod),
            'not null', t.attnotnull,
            'default', pg_get_expr(d.adbin, d.adrelid),
            'generated', t.attgenerated,
            'identity', t.attidentity,
            'collation', nullif(t.attcollation, y.typcollation)::regcollation::text,
            'storage', t.attstorage,
            'compression', t.attcompression,
            'statistics', nullif(t.attstattarget, -1),
            -- Newer minor releases stamp a column's making in there, which pg_dump leaves out too.
            'options', (
                SELECT array_agg(o.entry ORDER BY o.entry::name)
                FROM unnest(t.attoptions) AS o (entry)
                WHERE o.entry NOT LIKE 'pg\_attver=%'
            ),
            'grants', g.grants,
            'comment', col_description(t.attrelid, t.attnum)
        )
    FROM pg_catalog.pg_attribute AS t
    INNER JOIN relation AS r ON r.oid = t.attrelid
    INNER JOIN pg_catalog.pg_type AS y ON y.oid = t.atttypid
    LEFT JOIN pg_catalog.pg_attrdef AS d ON d.adrelid = t.attrelid AND d.adnum = t.attnum
    LEFT JOIN grant_list AS g
        ON g.catalogue = 'relation' AND g.oid = t.attrelid AND g.part = t.attnum
    WHERE t.attnum > 0 AND NOT t.attisdropped AND r.relkind NOT IN ('i', 'I')
    UNION ALL
    SELECT
        'constraint',
        format('%s %s', coalesce(k.conrelid::regclass::text, k.contypid::regtype::text), k.conname),
        jsonb_build_object(
            'definition', pg_get_constraintdef(k.oid),
            'validated', k.convalidated,
            'inherited', k.coninhcount,
            'comment', obj_description(k.oid, 'pg_constraint')
        )
    FROM pg_catalog.pg_constraint AS k
    INNER JOIN owned_schema AS s ON s.oid = k.connamespace
    UNION ALL
    SELECT
        'index',
        r.relname::text,
        jsonb_build_object(
            'definition', pg_get_indexdef(i.indexrelid),
            'valid', i.indisvalid,
            'clustered', i.indisclustered,
            'replica identity', i.indisreplident,
            'part of', (
                SELECT h.inhparent::regclass::text FROM pg_catalog.pg_inherits AS h
                WHERE h.inhrelid = i.indexrelid
            ),
            'comment', obj_description(i.indexrelid, 'pg_class')
        )
    FROM pg_catalog.pg_index AS i
    INNER JOIN relation AS r ON r.oid = i.indexrelid
    UNION ALL
    SELECT
        'trigger',
        format('%s %s', r.relname, t.tgname),
        jsonb_build_object(
            'definition', pg_get_triggerdef(t.oid),
            'enabled', t.tgenabled,
            'comment', obj_description(t.oid, 'pg_trigger')
        )
    FROM pg_catalog.pg_trigger AS t
    INNER JOIN relation AS r ON r.oid = t.tgrelid
    WHERE NOT t.tgisinternal
    UNION ALL
    SELECT
        'rule',
        format('%s %s', r.relname, u.rulename),
        jsonb_build_object('definition', pg_get_ruledef(u.oid), 'enabled', u.ev_enabled)
    FROM pg_catalog.pg_rewrite AS u
    INNER JOIN relation AS r ON r.oid = u.ev_class
    WHERE u.rulename <> '_RETURN'
    UNION ALL
    SELECT
        'policy',
        format('%s %s', r.relname, p.polname),
        jsonb_build_object(
            'command', p.polcmd,
            'permissive', p.polpermissive,
            'roles', (
                SELECT array_agg(
                    CASE o.role WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(o.role)::text END
                    ORDER BY pg_get_userbyid(o.role)
                )
                FROM unnest(p.polroles) AS o (role)
            ),
            'using', pg_get_expr(p.polqual, p.polrelid),
            'with check', pg_get_expr(p.polwithcheck, p.polrelid),
            'comment', obj_description(p.oid, 'pg_policy')
        )
    FROM pg_catalog.pg_policy AS p
    INNER JOIN relation AS r ON r.oid = p.polrelid
    UNION ALL
    SELECT
        'function',
        p.oid::regprocedure::text,
        jsonb_build_object(
            'definition', CASE WHEN p.prokind <> 'a' THEN pg_get_functiondef(p.oid) END,
            'owner', pg_get_userbyid(p.proowner),
            'grants', g.grants,
            'comment', obj_description(p.oid, 'pg_proc')
        )
    FROM pg_catalog.pg_proc AS p
    INNER JOIN owned_schema AS s ON s.oid = p.pronamespace
    LEFT JOIN grant_list AS g ON g.catalogue = 'function' AND g.oid = p.oid
    UNION ALL
    SELECT
        'type',
        y.typname::text,
        jsonb_build_object(
            'kind', y.typtype,
            'owner', pg_get_userbyid(y.typowner),
            'grants', g.grants,
            'base', CASE WHEN y.typtype = 'd' THEN format_type(y.typbasetype, y.typtypmod) END,
            'not null', y.typnotnull,
            'default', y.typdefault,
            'labels', (
                SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder)
                FROM pg_catalog.pg_enum AS e
                WHERE e.enumtypid = y.oid
            ),
            'comment', obj_description(y.oid, 'pg_type')
        )
    FROM pg_catalog.pg_type AS y
    INNER JOIN owned_schema AS s ON s.oid = y.typnamespace
    LEFT JOIN grant_list AS g ON g.catalogue = 'type' AND g.oid = y.oid
    -- A table's row type and every array type come with what they belong to.
    WHERE y.typtype IN ('d', 'e', 'r', 'm')
    UNION ALL
    SELECT
        'sequence',
        r.relname::text,
        jsonb_build_object(
            'type', format_type(q.seqtypid, NULL),
            'start', q.seqstart,
            'increment', q.seqincrement,
            'minimum', q.seqmin,
            'maximum', q.seqmax,
            'cache', q.seqcache,
            'cycles', q.seqcycle
        )
    FROM pg_catalog.pg_sequence AS q
    INNER JOIN relation AS r ON r.oid = q.seqrelid
    UNION ALL
    SELECT
        'statistics',
        x.stxname::text,
        jsonb_build_object(
            'definition', pg_get_statisticsobjdef(x.oid),
            'owner', pg_get_userbyid(x.stxowner)
        )
    FROM pg_catalog.pg_statistic_ext AS x
    INNER JOIN owned_schema AS s ON s.oid = x.stxnamespace
)

SELECT format('%s %s %s', f.kind, f.name, jsonb_strip_nulls(f.detail)) AS line
FROM fact AS f
ORDER BY line;
