-- Creates the function that makes partitions by month, and the one that counts those ahead.
-- depends: 0010_create_conversation_sessions
-- why: turns and audit entries are partitioned by the month in their id, made ahead of time. A
--   month that is missing refuses its rows (23514); there is no default partition, since it would
--   stand in the way of new ones.
-- phase: before deploy
-- locks: none
-- rollback: drops the functions

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.partition_floors(p_parent regclass) RETURNS SETOF uuid
LANGUAGE plpgsql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY
    SELECT substring(
        pg_get_expr(c.relpartbound, c.oid)
        FROM 'FROM \(''([0-9a-f-]{36})''\)'
    )::uuid
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON i.inhrelid = c.oid
    WHERE i.inhparent = p_parent
        AND NOT i.inhdetachpending;
END
$$;

COMMENT ON FUNCTION clonedb.partition_floors(regclass) IS
'The lowest id of each partition of a table that is partitioned by id.';

CREATE FUNCTION clonedb.create_month_partitions(
    p_parent regclass,
    p_from date,
    p_months integer
)
RETURNS integer
LANGUAGE plpgsql
VOLATILE
SET search_path = pg_catalog, pg_temp
-- While ATTACH waits for a table that the parent's foreign key refers to, every later writer of
-- that table waits behind it: a third of a second, then it steps back and tries again.
SET lock_timeout = '300ms'
AS $$
DECLARE
    c_attempts constant integer := 30;
    v_parent_name text := (SELECT c.relname FROM pg_class AS c WHERE c.oid = p_parent);
    v_month date;
    v_name text;
    v_attach text[] := '{}';
    v_command text;
BEGIN
    IF p_months IS NULL OR p_months NOT BETWEEN 1 AND 120 THEN
        RAISE EXCEPTION 'cannot make % months of %', p_months, p_parent
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Between 1 and 120 at a time.';
    END IF;
    IF p_from IS NULL OR extract(YEAR FROM p_from) NOT BETWEEN 1971 AND 9900 THEN
        RAISE EXCEPTION 'cannot make months of % from %', p_parent, p_from
            USING ERRCODE = 'datetime_field_overflow', HINT = 'Years 1971 to 9900 have ids.';
    END IF;

    -- One maker at a time; the others then find the months made.
    FOR v_attempt IN 1..c_attempts
    LOOP
        BEGIN
            PERFORM pg_advisory_xact_lock(hashtextextended('clonedb partitions', p_parent::bigint));
            EXIT;
        EXCEPTION
            WHEN lock_not_available THEN
                IF v_attempt = c_attempts THEN
                    RAISE;
                END IF;
        END;
    END LOOP;

    -- Built on its own, a month disturbs nobody, and is protected before it can be reached.
    FOR v_months IN 0..p_months - 1
    LOOP
        v_month := date_trunc('month', p_from::timestamp) + make_interval(months => v_months);
        CONTINUE WHEN EXISTS (
            SELECT
            FROM clonedb.partition_floors(p_parent) AS f (floor)
            WHERE f.floor = clonedb.uuid_v7_floor(v_month::timestamp AT TIME ZONE 'UTC')
        );
        v_name := format('%s_%s', v_parent_name, to_char(v_month, 'YYYY_MM'));
        EXECUTE format('CREATE TABLE clonedb.%I (LIKE %s INCLUDING ALL)', v_name, p_parent);
        EXECUTE format(
            'COMMENT ON TABLE clonedb.%I IS %L',
            v_name,
            format('%s of %s (UTC).', v_parent_name, to_char(v_month, 'YYYY-MM'))
        );
        PERFORM clonedb.protect_user_table(format('clonedb.%I', v_name)::regclass);
        v_attach := v_attach || format(
            'ALTER TABLE %s ATTACH PARTITION clonedb.%I FOR VALUES FROM (%L) TO (%L)',
            p_parent,
            v_name,
            clonedb.uuid_v7_floor(v_month::timestamp AT TIME ZONE 'UTC'),
            clonedb.uuid_v7_floor((v_month + interval '1 month') AT TIME ZONE 'UTC')
        );
    END LOOP;

    FOR v_attempt IN 1..c_attempts
    LOOP
        BEGIN
            FOREACH v_command IN ARRAY v_attach
            LOOP
                EXECUTE v_command;
            END LOOP;
            EXIT;
        EXCEPTION
            -- Leaving the block gives back the locks that it got, so that the others move on.
            WHEN lock_not_available OR deadlock_detected THEN
                IF v_attempt = c_attempts THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(0.05 + 0.2 * random());
        END;
    END LOOP;
    RETURN cardinality(v_attach);
END
$$;

COMMENT ON FUNCTION clonedb.create_month_partitions(regclass, date, integer) IS
'Makes the partitions of p_months months from the month of p_from on that are missing, protected,
and returns how many it made. All or none; safe to call by several at once. Raises 55P03 where
open writers gave it no chance. Takes SHARE ROW EXCLUSIVE on tables that the parent refers to.';

CREATE FUNCTION clonedb.months_ahead(p_parent regclass) RETURNS integer
LANGUAGE plpgsql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_floors constant uuid[] := ARRAY(SELECT clonedb.partition_floors(p_parent));
    v_month timestamp := date_trunc('month', now() AT TIME ZONE 'UTC');
    v_ahead integer := -1;
BEGIN
    WHILE clonedb.uuid_v7_floor(v_month AT TIME ZONE 'UTC') = ANY (v_floors)
    LOOP
        v_ahead := v_ahead + 1;
        v_month := v_month + interval '1 month';
    END LOOP;
    RETURN v_ahead;
END
$$;

COMMENT ON FUNCTION clonedb.months_ahead(regclass) IS
'How many months after this one follow without a gap; -1 where this month itself is missing.';
