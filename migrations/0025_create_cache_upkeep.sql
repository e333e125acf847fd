-- Creates what keeps the caches small without a scheduler, and what they were used for by hour.
-- depends: 0024_create_stored_objects
-- why: whoever stores removes a little of what has expired, of whichever user; the app login may not
--   delete another's rows, so a function does. Figures tell whether a cache earns its keep.
-- phase: before deploy
-- locks: none
-- rollback: drops the tables and the function; expired entries stay until the worker purges them

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.cache_budgets (
    cache text NOT NULL,
    maximum_entries bigint NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cache_budgets_pkey PRIMARY KEY (cache),
    CONSTRAINT cache_budgets_cache_is_known CHECK (
        cache IN ('embedding', 'vector_search', 'llm_response', 'audio_chunk')
    ),
    CONSTRAINT cache_budgets_maximum_entries_is_plausible CHECK (
        maximum_entries BETWEEN 0 AND 1000000000
    )
);

COMMENT ON TABLE clonedb.cache_budgets IS 'How many entries of everybody a cache may hold.';
COMMENT ON COLUMN clonedb.cache_budgets.cache IS 'The cache.';
COMMENT ON COLUMN clonedb.cache_budgets.maximum_entries IS
'Beyond it entries make room as others are stored, the soonest to expire first. About: the server
counts rows with a delay of a second.';
COMMENT ON COLUMN clonedb.cache_budgets.created_at IS 'When the budget was made.';
COMMENT ON COLUMN clonedb.cache_budgets.updated_at IS 'When it last changed.';

-- A start, to be tuned by whoever knows the disk: some 7 GB of vectors of 1,536 numbers, and a few
-- of each other at usual sizes.
INSERT INTO clonedb.cache_budgets (cache, maximum_entries)
VALUES
('embedding', 1000000),
('vector_search', 500000),
('llm_response', 1000000),
('audio_chunk', 100000);

GRANT SELECT ON clonedb.cache_budgets
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup;
GRANT INSERT, UPDATE, DELETE ON clonedb.cache_budgets TO clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.cache_budgets TO clonedb_dba;

CREATE TABLE clonedb.cache_use (
    hour timestamptz NOT NULL,
    cache text NOT NULL,
    memory_hits bigint NOT NULL DEFAULT 0,
    database_hits bigint NOT NULL DEFAULT 0,
    stale_hits bigint NOT NULL DEFAULT 0,
    misses bigint NOT NULL DEFAULT 0,
    fills bigint NOT NULL DEFAULT 0,
    failures bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cache_use_pkey PRIMARY KEY (hour, cache),
    CONSTRAINT cache_use_cache_is_known CHECK (
        cache IN ('embedding', 'vector_search', 'llm_response', 'audio_chunk')
    ),
    CONSTRAINT cache_use_hour_is_whole CHECK (hour = date_trunc('hour', hour, 'UTC')),
    CONSTRAINT cache_use_counts_are_not_negative CHECK (
        least(memory_hits, database_hits, stale_hits, misses, fills, failures) >= 0
    )
) WITH (fillfactor = 50);

COMMENT ON TABLE clonedb.cache_use IS
'How often the caches were asked, by hour and over all processes, which add theirs every ten seconds.
What a process that was killed had not added is lost.';
COMMENT ON COLUMN clonedb.cache_use.hour IS 'The hour in UTC in which it was added.';
COMMENT ON COLUMN clonedb.cache_use.cache IS 'The cache.';
COMMENT ON COLUMN clonedb.cache_use.memory_hits IS 'Requests that found a value in their process.';
COMMENT ON COLUMN clonedb.cache_use.database_hits IS 'Requests that found a value in the table.';
COMMENT ON COLUMN clonedb.cache_use.stale_hits IS
'Requests that took a value that had expired a moment ago.';
COMMENT ON COLUMN clonedb.cache_use.misses IS 'Requests that found nothing.';
COMMENT ON COLUMN clonedb.cache_use.fills IS 'Values that were made.';
COMMENT ON COLUMN clonedb.cache_use.failures IS
'Calls to this database on behalf of the cache that failed or took too long.';
COMMENT ON COLUMN clonedb.cache_use.created_at IS 'When the hour was first added to.';
COMMENT ON COLUMN clonedb.cache_use.updated_at IS 'When it was last added to.';

GRANT SELECT, INSERT, UPDATE ON clonedb.cache_use TO clonedb_app;
GRANT SELECT ON clonedb.cache_use TO clonedb_readonly, clonedb_backup;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.cache_use TO clonedb_worker, clonedb_dba;

CREATE FUNCTION clonedb.trim_caches(p_limit bigint)
RETURNS TABLE (cache text, expired bigint, evicted bigint)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
ROWS 4
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_maximum bigint;
    v_surplus bigint;
    v_changes tid[];
BEGIN
    IF (p_limit BETWEEN 1 AND 10000) IS NOT TRUE THEN
        RAISE EXCEPTION 'a batch is of 1 to 10,000 entries, not of %', p_limit
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    FOREACH cache IN ARRAY ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk'] LOOP
        EXECUTE format(
            'DELETE FROM clonedb.%1$I AS c WHERE c.ctid = ANY(ARRAY('
            'SELECT old.ctid FROM clonedb.%1$I AS old '
            'WHERE old.expires_at <= statement_timestamp() '
            'ORDER BY old.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED)) '
            'AND c.expires_at <= statement_timestamp()',
            cache || '_cache'
        ) USING p_limit;
        GET DIAGNOSTICS expired = ROW_COUNT;

        evicted := 0;
        v_maximum := (
            SELECT b.maximum_entries
            FROM clonedb.cache_budgets AS b
            WHERE b.cache = trim_caches.cache
        );
        -- By the server's own statistics: counting a million rows would take a tenth of a second.
        v_surplus := pg_stat_get_live_tuples(format('clonedb.%I', cache || '_cache')::regclass)
            - expired - v_maximum;
        IF v_surplus > 0 THEN
            EXECUTE format(
                'DELETE FROM clonedb.%1$I AS c WHERE c.ctid = ANY(ARRAY('
                'SELECT soon.ctid FROM clonedb.%1$I AS soon '
                'ORDER BY soon.expires_at LIMIT $1 FOR UPDATE SKIP LOCKED))',
                cache || '_cache'
            ) USING least(v_surplus, p_limit);
            GET DIAGNOSTICS evicted = ROW_COUNT;
        END IF;
        RETURN NEXT;
    END LOOP;

    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.ctid = ANY(ARRAY(
            SELECT old.ctid
            FROM clonedb.cache_fill_leases AS old
            WHERE old.expires_at <= statement_timestamp()
            ORDER BY old.expires_at
            LIMIT p_limit
            FOR UPDATE SKIP LOCKED
        ))
        AND lease.expires_at <= statement_timestamp();

    -- Changes that are no news to anybody: first the fills that began before them end in nothing,
    -- then what such fills have stored goes, then the changes, which nothing is old by any more.
    v_changes := ARRAY(
        SELECT ch.ctid
        FROM clonedb.cache_changes AS ch
        WHERE ch.created_at < statement_timestamp() - interval '1 hour'
        ORDER BY ch.created_at
        LIMIT p_limit
        FOR UPDATE SKIP LOCKED
    );
    IF cardinality(v_changes) = 0 THEN
        RETURN;
    END IF;
    DELETE FROM clonedb.cache_fill_leases AS lease
    USING clonedb.cache_changes AS ch
    WHERE ch.ctid = ANY(v_changes)
        AND lease.user_id = ch.user_id
        AND lease.cache = ANY(ch.caches)
        AND NOT pg_visible_in_snapshot(ch.xid, lease.snapshot);
    FOREACH cache IN ARRAY ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk'] LOOP
        -- Locked in the order of the keys, as where hits are recorded: no two can deadlock.
        EXECUTE format(
            'DELETE FROM clonedb.%1$I AS c WHERE c.ctid = ANY(ARRAY('
            'SELECT old.ctid FROM clonedb.%1$I AS old '
            'WHERE old.user_id IN ('
            'SELECT ch.user_id FROM clonedb.cache_changes AS ch WHERE ch.ctid = ANY($1)) '
            'AND EXISTS (SELECT FROM clonedb.cache_changes AS ch '
            'WHERE ch.ctid = ANY($1) AND ch.user_id = old.user_id AND $2 = ANY(ch.caches) '
            'AND NOT pg_visible_in_snapshot(ch.xid, old.snapshot)) '
            'ORDER BY old.user_id, old.key FOR UPDATE))',
            cache || '_cache'
        ) USING v_changes, cache;
    END LOOP;
    DELETE FROM clonedb.cache_changes AS ch
    WHERE ch.ctid = ANY(v_changes);
END
$$;

COMMENT ON FUNCTION clonedb.trim_caches(bigint) IS
'Removes up to so many expired entries of each cache, whoever they belong to, then up to so many of
those soonest to expire where the cache is beyond its budget; leases that are over; and changes of an
hour ago with what they have made old. Expired rows that somebody is renewing are left. Returns what it removed, and nothing of what was in it.';

GRANT EXECUTE ON FUNCTION clonedb.trim_caches(bigint)
TO clonedb_app, clonedb_worker, clonedb_dba;
