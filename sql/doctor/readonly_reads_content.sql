-- name: find(hidden, intimate)
-- Tables of people of which readonly has columns that are classified as intimate, or not at all.
WITH granted AS (
    SELECT
        c.oid,
        t.attname,
        t.attnum,
        (
            concat(c.relname, '.', t.attname) = ANY(:hidden::text[])
            OR coalesce(
                substring(col_description(c.oid, t.attnum) FROM '\[personal: ([a-z]+)\]$')
                = ANY(:intimate::text[]),
                true
            )
        ) AS is_content
    FROM pg_catalog.pg_class AS c
    INNER JOIN pg_catalog.pg_attribute AS t
        ON t.attrelid = c.oid AND t.attnum > 0 AND NOT t.attisdropped
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition
        AND EXISTS (
            SELECT 1
            FROM (
                SELECT
                    g.grantee,
                    g.privilege_type
                FROM aclexplode(c.relacl) AS g
                UNION ALL
                SELECT
                    g.grantee,
                    g.privilege_type
                FROM aclexplode(t.attacl) AS g
            ) AS a
            WHERE a.grantee = 'clonedb_readonly'::regrole
                AND a.privilege_type = 'SELECT'
        )
        AND (
            c.relname = 'users'
            OR EXISTS (
                SELECT 1
                FROM pg_catalog.pg_attribute AS a
                WHERE a.attrelid = c.oid
                    AND a.attname IN ('user_id', 'subject_ref')
                    AND NOT a.attisdropped
            )
            OR EXISTS (
                SELECT 1
                FROM pg_catalog.pg_constraint AS k
                WHERE k.conrelid = c.oid
                    AND k.contype = 'f'
                    AND k.confrelid = 'clonedb.users'::regclass
            )
        )
)

SELECT
    granted.oid::regclass::text AS object,
    string_agg(quote_ident(granted.attname), ', ' ORDER BY granted.attnum)
    FILTER (WHERE granted.is_content) AS columns,
    coalesce(
        format(
            ' GRANT SELECT (%s) ON %s TO clonedb_readonly;',
            string_agg(quote_ident(granted.attname), ', ' ORDER BY granted.attnum)
            FILTER (WHERE NOT granted.is_content),
            granted.oid::regclass
        ),
        ''
    ) AS regrant
FROM granted
GROUP BY granted.oid
HAVING bool_or(granted.is_content)
ORDER BY object;
