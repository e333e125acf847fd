-- One value that changes with any change of the schema, of this database's settings, or of the rows
-- that migrations bring. For tests, to know when a database has to be made anew.
-- Every catalogue row that changes gets another xmin.

SELECT md5(string_agg(entry.line, ',' ORDER BY entry.line))
FROM (
    SELECT concat_ws(' ', 'class', c.oid, c.xmin) AS line
    FROM pg_catalog.pg_class AS c
    WHERE c.relnamespace = 'clonedb'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'column', a.attrelid, a.attnum, a.xmin)
    FROM pg_catalog.pg_attribute AS a
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = a.attrelid
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
    UNION ALL
    SELECT concat_ws(' ', 'constraint', k.oid, k.xmin)
    FROM pg_catalog.pg_constraint AS k
    WHERE k.connamespace = 'clonedb'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'policy', p.oid, p.xmin)
    FROM pg_catalog.pg_policy AS p
    UNION ALL
    SELECT concat_ws(' ', 'function', f.oid, f.xmin)
    FROM pg_catalog.pg_proc AS f
    WHERE f.pronamespace = 'clonedb'::regnamespace
    UNION ALL
    SELECT concat_ws(' ', 'trigger', t.oid, t.xmin)
    FROM pg_catalog.pg_trigger AS t
    UNION ALL
    SELECT concat_ws(' ', 'schema', n.oid, n.xmin)
    FROM pg_catalog.pg_namespace AS n
    WHERE n.nspname NOT LIKE 'pg\_%'
    UNION ALL
    SELECT concat_ws(' ', 'setting', s.setdatabase, s.setrole, s.setconfig)
    FROM pg_catalog.pg_db_role_setting AS s
    INNER JOIN pg_catalog.pg_database AS d ON d.oid = s.setdatabase
    WHERE d.datname = current_database()
    UNION ALL
    SELECT concat_ws(' ', 'transition', x.from_state, x.to_state)
    FROM clonedb.session_transitions AS x
    UNION ALL
    SELECT concat_ws(' ', 'rule', to_jsonb(r)::text)
    FROM clonedb.rate_limit_rules AS r
    UNION ALL
    SELECT concat_ws(' ', 'quota', to_jsonb(q)::text)
    FROM clonedb.daily_quotas AS q
    UNION ALL
    SELECT concat_ws(' ', 'budget', to_jsonb(b)::text)
    FROM clonedb.cache_budgets AS b
    UNION ALL
    SELECT concat_ws(' ', 'retention', p.name, p.keep_days, p.enabled)
    FROM clonedb.retention_policies AS p
    UNION ALL
    SELECT concat_ws(' ', 'migration', m.migration_id)
    FROM public._yoyo_migration AS m
) AS entry;
