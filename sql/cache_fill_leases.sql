-- Leases: which process is filling which missing cache entry.
--
-- `user_id` is the user's in their own scope, and the nil UUID, whose entries are shared, in that of
-- the login.

-- name: release(user_id, cache, key, holder)!
-- Gives a lease up without a value, so that the next who wants one need not wait.
DELETE FROM clonedb.cache_fill_leases AS lease
WHERE lease.user_id = :user_id::uuid
    AND lease.cache = :cache::text
    AND lease.key = :key::bytea
    AND lease.holder = :holder::uuid;

-- name: renew(user_id, cache, key, holder, seconds)$
-- Lets a held lease end so many seconds from now; no row where it was lost.
UPDATE clonedb.cache_fill_leases AS lease
SET
    expires_at = statement_timestamp() + make_interval(secs => :seconds::double precision),
    updated_at = statement_timestamp()
WHERE lease.user_id = :user_id::uuid
    AND lease.cache = :cache::text
    AND lease.key = :key::bytea
    AND lease.holder = :holder::uuid
RETURNING true;

-- name: revoke(user_id, cache, key)!
-- Takes leases away, so that what their holders are making is not stored; others may begin anew.
-- Locked in the order of the keys: two of these cannot deadlock.
-- lane: pool
-- users: all
WITH held AS (
    SELECT
        lease.user_id,
        lease.cache,
        lease.key
    FROM clonedb.cache_fill_leases AS lease
    WHERE true
        AND lease.user_id = :user_id::uuid  -- filter: user
        AND lease.cache = :cache::text  -- filter: cache
        AND lease.key = :key::bytea  -- filter: key
    ORDER BY
        lease.user_id,
        lease.cache,
        lease.key
    FOR UPDATE
)
DELETE FROM clonedb.cache_fill_leases AS lease
USING held
WHERE lease.user_id = held.user_id
    AND lease.cache = held.cache
    AND lease.key = held.key;

-- name: take(user_id, cache, key, holder, seconds)$
-- Takes the lease of a key that nobody holds; no row where somebody does.
-- With it goes the user's present generation: whoever changes the data from now on makes the value
-- old that is being made.
INSERT INTO clonedb.cache_fill_leases AS lease (
    user_id,
    cache,
    key,
    holder,
    generation,
    expires_at
)
SELECT
    :user_id::uuid,
    :cache::text,
    :key::bytea,
    :holder::uuid,
    coalesce(
        (
            SELECT
                CASE :cache::text
                    WHEN 'embedding_cache' THEN g.embedding
                    WHEN 'vector_search_cache' THEN g.vector_search
                    WHEN 'llm_response_cache' THEN g.llm_response
                    WHEN 'audio_chunk_cache' THEN g.audio_chunk
                END
            FROM clonedb.cache_generations AS g
            WHERE g.user_id = :user_id::uuid
        ),
        0
    ),
    statement_timestamp() + make_interval(secs => :seconds::double precision)
ON CONFLICT (user_id, cache, key) DO UPDATE SET
    holder = excluded.holder,
    generation = excluded.generation,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
WHERE lease.expires_at <= statement_timestamp()
RETURNING true;
