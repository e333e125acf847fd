-- Creates what finds the months that are over, says how each is to be taken away, and marks them.
-- depends: 0033_create_retention_policies
-- why: DETACH CONCURRENTLY runs in no function and no transaction, so the owner's connection sends
--   it, one statement at a time. What the next statement is, the catalogue says: whoever is killed
--   is followed by somebody who asks again.
-- phase: before deploy
-- locks: none
-- rollback: drops the functions
--
-- attached       -> marked, then DETACH … CONCURRENTLY
-- half detached  -> DETACH … FINALIZE, after a DETACH that was killed or gave up
-- detached       -> TRUNCATE, then DROP, which takes ACCESS EXCLUSIVE on what the month refers to:
--                   empty, it has it for an instant
--
-- The mark is the month's comment. A table that was detached by hand has none, and stays.

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.expired_months(p_now timestamptz)
RETURNS TABLE (
    policy text,
    month date,
    partition_name text,
    state text,
    marked boolean,
    statement text
)
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
AS $$
WITH parent AS (
    SELECT
        c.oid,
        c.relname::text AS policy,
        clonedb.retention_cutoff(c.relname::text, p_now) AS cutoff
    FROM pg_class AS c
    WHERE c.oid IN ('clonedb.conversation_turns'::regclass, 'clonedb.audit_logs'::regclass)
),
known AS (
    SELECT
        parent.policy,
        parent.cutoff,
        c.oid,
        c.relname,
        c.relispartition,
        i.inhdetachpending,
        to_date(right(c.relname, 7), 'YYYY_MM') AS month,
        pg_get_expr(c.relpartbound, c.oid) AS bounds,
        obj_description(c.oid, 'pg_class') IS NOT DISTINCT FROM format(
            '%s of %s (UTC), expired.', parent.policy, replace(right(c.relname, 7), '_', '-')
        ) AS marked
    FROM parent
    INNER JOIN pg_class AS c
        ON c.relnamespace = 'clonedb'::regnamespace
            AND c.relkind = 'r'
            AND c.relname ~ ('^' || parent.policy || '_[0-9]{4}_(0[1-9]|1[0-2])$')
    LEFT JOIN pg_inherits AS i ON i.inhrelid = c.oid AND i.inhparent = parent.oid
    WHERE parent.cutoff IS NOT NULL
)
SELECT
    known.policy,
    known.month,
    known.relname::text,
    CASE
        WHEN known.inhdetachpending THEN 'half detached'
        WHEN known.relispartition THEN 'attached'
        ELSE 'detached'
    END,
    known.marked,
    CASE
        WHEN known.inhdetachpending
            THEN format(
                'ALTER TABLE clonedb.%I DETACH PARTITION clonedb.%I FINALIZE',
                known.policy,
                known.relname
            )
        WHEN known.relispartition
            THEN format(
                'ALTER TABLE clonedb.%I DETACH PARTITION clonedb.%I CONCURRENTLY',
                known.policy,
                known.relname
            )
        WHEN pg_relation_size(known.oid) > 0 THEN format('TRUNCATE clonedb.%I', known.relname)
        ELSE format('DROP TABLE clonedb.%I', known.relname)
    END
FROM known
WHERE ((known.month + interval '1 month') AT TIME ZONE 'UTC') <= known.cutoff
    AND CASE
        WHEN known.relispartition
            -- It holds what its name says.
            THEN known.bounds = format(
                'FOR VALUES FROM (%L) TO (%L)',
                clonedb.uuid_v7_floor(known.month::timestamp AT TIME ZONE 'UTC'),
                clonedb.uuid_v7_floor((known.month + interval '1 month') AT TIME ZONE 'UTC')
            )
        ELSE known.marked
    END
-- One that is half detached stands in the way of the others.
ORDER BY
    known.policy,
    coalesce(known.inhdetachpending, false) DESC,
    known.relispartition ASC,
    known.month ASC
$$;

COMMENT ON FUNCTION clonedb.expired_months(timestamptz) IS
'The months of turns and of the audit log that are wholly older than their retention policy keeps
them, each with its state, whether it is marked, and the statement that comes next for it. For a
policy, what was begun comes first, then the oldest. None where the policy is not enabled.';

GRANT EXECUTE ON FUNCTION clonedb.expired_months(timestamptz) TO clonedb_worker, clonedb_dba;

CREATE FUNCTION clonedb.mark_expired_month(p_policy text, p_month date, p_now timestamptz)
RETURNS text
LANGUAGE plpgsql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_floor constant uuid := clonedb.uuid_v7_floor(p_month::timestamp AT TIME ZONE 'UTC');
    v_ceiling constant uuid := clonedb.uuid_v7_floor(
        (p_month + interval '1 month') AT TIME ZONE 'UTC'
    );
    v_name text;
BEGIN
    -- Whoever switches it off comes before or after this, not between.
    PERFORM FROM clonedb.retention_policies AS p WHERE p.name = p_policy FOR SHARE;
    SELECT e.partition_name
    INTO v_name
    FROM clonedb.expired_months(p_now) AS e
    WHERE e.policy = p_policy
        AND e.month = p_month
        AND e.state = 'attached';
    IF NOT FOUND THEN
        RETURN 'kept';
    END IF;
    -- Entries from a seal's horizon on are in no seal.
    IF p_policy = 'audit_logs' AND EXISTS (
        SELECT
        FROM (
            SELECT
                l.system_identifier,
                max(l.xid::text::bigint) AS last_xid
            FROM clonedb.audit_logs AS l
            WHERE l.id >= v_floor
                AND l.id < v_ceiling
            GROUP BY l.system_identifier
        ) AS stored
        WHERE stored.last_xid >= coalesce(
            (
                SELECT max(s.to_xid::text::bigint)
                FROM clonedb.audit_seals AS s
                WHERE s.system_identifier = stored.system_identifier
            ),
            0
        )
    ) THEN
        RETURN 'not sealed';
    END IF;
    EXECUTE format(
        'COMMENT ON TABLE clonedb.%I IS %L',
        v_name,
        format('%s of %s (UTC), expired.', p_policy, to_char(p_month, 'YYYY-MM'))
    );
    INSERT INTO clonedb.audit_logs (action, resource, result)
    VALUES ('retention.drop_month', p_policy || '/' || v_floor, 'success');
    RETURN 'marked';
END
$$;

COMMENT ON FUNCTION clonedb.mark_expired_month(text, date, timestamptz) IS
'Marks a month that is over as one to be dropped, and puts that on record: the resource is the
table and the lowest id of the month. Returns marked; kept, where the policy keeps it by now; or
not sealed, for a month of the audit log with entries that no seal covers. For the owner alone.';
