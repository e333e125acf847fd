-- The four caches together.
--
-- Each query covers one user in their own scope, and everybody for the worker login without it.

-- name: find_budgets()
-- How many entries of everybody each cache may hold.
SELECT
    b.cache,
    b.maximum_entries
FROM clonedb.cache_budgets AS b
ORDER BY b.cache;

-- name: invalidate_all(user_id)^
-- Drops every entry of the four caches and counts them.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache, scan embedding_cache, scan llm_response_cache, scan vector_search_cache
WITH dropped_embedding_cache AS (
    DELETE FROM clonedb.embedding_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['embedding']))
),
dropped_vector_search_cache AS (
    DELETE FROM clonedb.vector_search_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['vector_search']))
),
dropped_llm_response_cache AS (
    DELETE FROM clonedb.llm_response_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']))
),
dropped_audio_chunk_cache AS (
    DELETE FROM clonedb.audio_chunk_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['audio_chunk']))
)
SELECT
    (SELECT count(*) FROM dropped_embedding_cache) AS embedding,
    (SELECT count(*) FROM dropped_vector_search_cache) AS vector_search,
    (SELECT count(*) FROM dropped_llm_response_cache) AS llm_response,
    (SELECT count(*) FROM dropped_audio_chunk_cache) AS audio_chunk;

-- name: invalidate_by_document(user_id, document_id)^
-- Drops the searches and responses that a document is part of, and counts them.
-- lane: pool
-- users: all
-- plan: scan llm_response_cache, scan vector_search_cache
WITH dropped_vector_search_cache AS (
    DELETE FROM clonedb.vector_search_cache AS c
    WHERE :document_id::uuid = ANY(c.document_ids)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['vector_search']))
),
dropped_llm_response_cache AS (
    DELETE FROM clonedb.llm_response_cache AS c
    WHERE :document_id::uuid = ANY(c.document_ids)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']))
)
SELECT
    0::bigint AS embedding,
    (SELECT count(*) FROM dropped_vector_search_cache) AS vector_search,
    (SELECT count(*) FROM dropped_llm_response_cache) AS llm_response,
    0::bigint AS audio_chunk;

-- name: invalidate_by_tag(user_id, tag)^
-- Drops the entries of the four caches that bear a tag, and counts them.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache, scan embedding_cache, scan llm_response_cache, scan vector_search_cache
WITH dropped_embedding_cache AS (
    DELETE FROM clonedb.embedding_cache AS c
    WHERE :tag::text = ANY(c.tags)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['embedding']))
),
dropped_vector_search_cache AS (
    DELETE FROM clonedb.vector_search_cache AS c
    WHERE :tag::text = ANY(c.tags)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['vector_search']))
),
dropped_llm_response_cache AS (
    DELETE FROM clonedb.llm_response_cache AS c
    WHERE :tag::text = ANY(c.tags)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']))
),
dropped_audio_chunk_cache AS (
    DELETE FROM clonedb.audio_chunk_cache AS c
    WHERE :tag::text = ANY(c.tags)
        AND c.user_id = :user_id::uuid  -- filter: user
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['audio_chunk']))
)
SELECT
    (SELECT count(*) FROM dropped_embedding_cache) AS embedding,
    (SELECT count(*) FROM dropped_vector_search_cache) AS vector_search,
    (SELECT count(*) FROM dropped_llm_response_cache) AS llm_response,
    (SELECT count(*) FROM dropped_audio_chunk_cache) AS audio_chunk;

-- name: put_budget(cache, maximum_entries)^
-- Sets how many entries of everybody a cache may hold; the worker login alone may.
WITH stored AS (
    INSERT INTO clonedb.cache_budgets AS b (
        cache,
        maximum_entries
    )
    VALUES (
        :cache::text,
        :maximum_entries::bigint
    )
    ON CONFLICT (cache) DO UPDATE SET
        maximum_entries = excluded.maximum_entries,
        updated_at = statement_timestamp()
    RETURNING
        b.cache,
        b.maximum_entries
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        NULL::uuid,
        NULL::uuid,
        'cache_budget.put',
        'cache_budgets',
        'success'
    FROM stored
)
SELECT
    stored.cache,
    stored.maximum_entries
FROM stored;

-- name: record_use(caches, memory_hits, database_hits, stale_hits, misses, fills, failures)!
-- Adds what a process has counted to the present hour, an array position for each cache.
-- Locked in the order of the caches: two processes cannot deadlock.
INSERT INTO clonedb.cache_use AS u (
    hour,
    cache,
    memory_hits,
    database_hits,
    stale_hits,
    misses,
    fills,
    failures
)
SELECT
    date_trunc('hour', statement_timestamp(), 'UTC'),
    given.cache,
    given.memory_hits,
    given.database_hits,
    given.stale_hits,
    given.misses,
    given.fills,
    given.failures
FROM unnest(
    :caches::text[],
    :memory_hits::bigint[],
    :database_hits::bigint[],
    :stale_hits::bigint[],
    :misses::bigint[],
    :fills::bigint[],
    :failures::bigint[]
) AS given (
    cache,
    memory_hits,
    database_hits,
    stale_hits,
    misses,
    fills,
    failures
)
ORDER BY given.cache
ON CONFLICT (hour, cache) DO UPDATE SET
    memory_hits = u.memory_hits + excluded.memory_hits,
    database_hits = u.database_hits + excluded.database_hits,
    stale_hits = u.stale_hits + excluded.stale_hits,
    misses = u.misses + excluded.misses,
    fills = u.fills + excluded.fills,
    failures = u.failures + excluded.failures,
    updated_at = statement_timestamp();

-- name: statistics(user_id)
-- What each cache holds; a row for an empty one too. Bytes are those of the values as stored.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache, scan embedding_cache, scan llm_response_cache, scan vector_search_cache
WITH entry AS (
    SELECT
        'embedding' AS cache,
        pg_column_size(c.embedding) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.embedding_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'vector_search' AS cache,
        pg_column_size(c.results) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.vector_search_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'llm_response' AS cache,
        pg_column_size(c.response) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.llm_response_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'audio_chunk' AS cache,
        pg_column_size(c.audio) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.audio_chunk_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
)
SELECT
    kind.cache,
    count(e.cache) AS entries,
    count(*) FILTER (WHERE e.expires_at <= statement_timestamp()) AS expired_entries,
    coalesce(sum(e.value_bytes), 0)::bigint AS value_bytes,
    coalesce(sum(e.hit_count), 0)::bigint AS hits,
    min(e.created_at) AS oldest_at,
    max(e.updated_at) AS newest_at
FROM (
    VALUES (1, 'embedding'), (2, 'vector_search'), (3, 'llm_response'), (4, 'audio_chunk')
) AS kind (position, cache)
LEFT JOIN entry AS e ON kind.cache = e.cache
GROUP BY
    kind.position,
    kind.cache
ORDER BY kind.position;

-- name: statistics_by_age(user_id)
-- What each cache holds by the time since an entry was last stored; ages without entries are left
-- out.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache, scan embedding_cache, scan llm_response_cache, scan vector_search_cache
WITH entry AS (
    SELECT
        'embedding' AS cache,
        pg_column_size(c.embedding) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.embedding_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'vector_search' AS cache,
        pg_column_size(c.results) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.vector_search_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'llm_response' AS cache,
        pg_column_size(c.response) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.llm_response_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
    UNION ALL
    SELECT
        'audio_chunk' AS cache,
        pg_column_size(c.audio) AS value_bytes,
        c.hit_count,
        c.expires_at,
        c.created_at,
        c.updated_at
    FROM clonedb.audio_chunk_cache AS c
    WHERE true
        AND c.user_id = :user_id::uuid  -- filter: user
)
SELECT
    e.cache,
    age.from_seconds,
    age.before_seconds,
    count(*) AS entries,
    count(*) FILTER (WHERE e.expires_at <= statement_timestamp()) AS expired_entries,
    coalesce(sum(e.value_bytes), 0)::bigint AS value_bytes,
    sum(e.hit_count)::bigint AS hits
FROM entry AS e
INNER JOIN (
    VALUES (0, 60), (60, 300), (300, 1800), (1800, 3600), (3600, 86400), (86400, NULL)
) AS age (from_seconds, before_seconds)
    ON
        greatest(extract(EPOCH FROM statement_timestamp() - e.updated_at), 0) >= age.from_seconds
        AND greatest(extract(EPOCH FROM statement_timestamp() - e.updated_at), 0)
        < coalesce(age.before_seconds, 'infinity'::double precision)
GROUP BY
    e.cache,
    age.from_seconds,
    age.before_seconds
ORDER BY
    e.cache ASC,
    age.from_seconds ASC;

-- name: trim(limit)
-- Removes a little of what has expired or is beyond a cache's budget, of whichever user.
-- lane: pool
-- access: write
SELECT
    t.cache,
    t.expired,
    t.evicted
FROM clonedb.trim_caches(:limit::bigint) AS t;

-- name: usage(hour_from, hour_before)
-- How the caches were used by hour, over all processes.
-- plan: scan cache_use
SELECT
    u.hour,
    u.cache,
    u.memory_hits,
    u.database_hits,
    u.stale_hits,
    u.misses,
    u.fills,
    u.failures
FROM clonedb.cache_use AS u
WHERE true
    AND u.hour >= :hour_from::timestamptz  -- filter: hour_from
    AND u.hour < :hour_before::timestamptz  -- filter: hour_before
ORDER BY
    u.hour ASC,
    u.cache ASC;
