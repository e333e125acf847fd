-- name: find()
-- Policies that call, outside of a sub-select, a function that may give another value each time.
-- What remains of an expression without its sub-selects is searched; parentheses in them may be
-- three deep. Arguments that are columns need the call for each row, and are left. A partition has
-- its table's policies, or is found by partition_differs.
WITH part AS (
    SELECT
        p.oid,
        p.polrelid,
        p.polname,
        pg_get_expr(p.polqual, p.polrelid) AS using_text,
        pg_get_expr(p.polwithcheck, p.polrelid) AS check_text
    FROM pg_catalog.pg_policy AS p
    INNER JOIN pg_catalog.pg_class AS c ON c.oid = p.polrelid
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND NOT c.relispartition
),

called AS (
    SELECT
        part.oid,
        match.groups[1] AS call
    FROM part
    CROSS JOIN LATERAL (
        VALUES (part.using_text), (part.check_text)
    ) AS x (expression)
    CROSS JOIN LATERAL regexp_matches(
        regexp_replace(
            x.expression,
            '\( SELECT (?:[^()]|\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\))*\)',
            '',
            'g'
        ),
        '([a-z_][a-z0-9_.]*\([^()]*\))',
        'g'
    ) AS match (groups)
    INNER JOIN pg_catalog.pg_proc AS f
        ON f.proname = substring(match.groups[1] FROM '([^.(]+)\(')
    INNER JOIN pg_catalog.pg_language AS l ON l.oid = f.prolang
    WHERE f.provolatile <> 'i'
        AND (l.lanname NOT IN ('internal', 'c') OR f.proname = 'current_setting')
        AND NOT EXISTS (
            SELECT 1
            FROM pg_catalog.pg_attribute AS a
            WHERE a.attrelid = part.polrelid
                AND a.attnum > 0
                AND regexp_replace(
                    substring(match.groups[1] FROM '\((.*)\)'), '''[^'']*''', '', 'g'
                ) ~ concat('\m', a.attname, '\M')
        )
)

SELECT DISTINCT
    part.polrelid::regclass::text AS object,
    quote_ident(part.polname) AS policy,
    called.call AS function,
    coalesce(
        format(
            ' USING (%s)', replace(part.using_text, called.call, format('(SELECT %s)', called.call))
        ),
        ''
    ) AS using_clause,
    coalesce(
        format(
            ' WITH CHECK (%s)',
            replace(part.check_text, called.call, format('(SELECT %s)', called.call))
        ),
        ''
    ) AS check_clause
FROM part
INNER JOIN called ON called.oid = part.oid
ORDER BY object, policy, function;
