-- The audio chunk cache: pieces of synthesised speech.
--
-- `user_id` is the user's in their own scope, and the nil UUID, whose rows are shared, in that of
-- the login. What drops many entries works across users without it, for the worker login.
--
-- A change has made an entry old, or not: IS NOT TRUE keeps that a question for each entry. As a join
-- (NOT EXISTS) it may not look for the transaction in the index, since the snapshot is the row's.

-- name: delete(user_id, key)$
-- Drops one entry, fresh or expired.
DELETE FROM clonedb.audio_chunk_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.key = :key::bytea
RETURNING
    true,
    pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['audio_chunk']));

-- name: fill(user_id, key, audio, format, duration_ms, sample_rate, tags, ttl, holder)$
-- Stores what the holder of the key's lease has made, and gives the lease up.
-- Nothing is stored without the lease, which whoever drops or puts the entry takes away, nor where
-- the data have changed since it was taken. A value of NULL says that it is known that there is none.
WITH released AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'audio_chunk'
        AND lease.key = :key::bytea
        AND lease.holder = :holder::uuid
    RETURNING
        lease.user_id,
        lease.snapshot
)
INSERT INTO clonedb.audio_chunk_cache AS c (
    user_id,
    key,
    audio,
    format,
    duration_ms,
    sample_rate,
    snapshot,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :audio::bytea,
    :format::text,
    :duration_ms::integer,
    :sample_rate::integer,
    released.snapshot,
    :tags::text[],
    statement_timestamp() + :ttl::interval
FROM released
WHERE (
        :user_id::uuid = '00000000-0000-0000-0000-000000000000'::uuid
        OR EXISTS (
            SELECT
            FROM clonedb.users AS u
            WHERE u.id = :user_id::uuid
        )
    )
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = released.user_id
            AND ch.xid >= pg_snapshot_xmin(released.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, released.snapshot)
            AND 'audio_chunk' = ANY(ch.caches)
    ) IS NOT TRUE
ON CONFLICT (user_id, key) DO UPDATE SET
    audio = excluded.audio,
    format = excluded.format,
    duration_ms = excluded.duration_ms,
    sample_rate = excluded.sample_rate,
    snapshot = excluded.snapshot,
    tags = excluded.tags,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
RETURNING true;

-- name: get(user_id, key)^
-- The fresh entry of a key: the user's own, else the shared one.
-- One that has expired, or was begun before a change of the data, is a miss, and stays for a renewal
-- or the purge.
SELECT
    c.key,
    c.tags,
    c.hit_count,
    c.expires_at,
    c.created_at,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.audio,
    c.format,
    c.duration_ms,
    c.sample_rate
FROM clonedb.audio_chunk_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = :key::bytea
    AND c.expires_at > statement_timestamp()
    AND c.audio IS NOT NULL
    AND c.format IS NOT NULL
    AND c.duration_ms IS NOT NULL
    AND c.sample_rate IS NOT NULL
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'audio_chunk' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY c.user_id DESC
LIMIT 1;

-- name: get_many(user_id, keys)
-- The fresh entries among many keys, for each the user's own before the shared one.
SELECT DISTINCT ON (c.key)
    c.key,
    c.tags,
    c.hit_count,
    c.expires_at,
    c.created_at,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.audio,
    c.format,
    c.duration_ms,
    c.sample_rate
FROM clonedb.audio_chunk_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = ANY(:keys::bytea[])
    AND c.expires_at > statement_timestamp()
    AND c.audio IS NOT NULL
    AND c.format IS NOT NULL
    AND c.duration_ms IS NOT NULL
    AND c.sample_rate IS NOT NULL
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'audio_chunk' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY
    c.key ASC,
    c.user_id DESC;

-- name: hottest(user_id, limit)
-- The fresh entries that were used most, as `look` shows them.
-- lane: pool
SELECT
    c.key,
    extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.audio,
    c.duration_ms
FROM clonedb.audio_chunk_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.expires_at > statement_timestamp()
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'audio_chunk' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY
    c.hit_count DESC,
    c.updated_at DESC,
    c.key ASC
LIMIT :limit::bigint;

-- name: invalidate_all(user_id)!
-- Drops every entry of the user, or of everybody.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache
DELETE FROM clonedb.audio_chunk_cache AS c
WHERE true
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['audio_chunk']));

-- name: invalidate_by_tag(user_id, tag)!
-- Drops the entries that bear a tag.
-- lane: pool
-- users: all
-- plan: scan audio_chunk_cache
DELETE FROM clonedb.audio_chunk_cache AS c
WHERE :tag::text = ANY(c.tags)
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['audio_chunk']));

-- name: look(user_id, key, stale)^
-- The entry of a key for the tiers together: what `get` finds, and with_stale one that expired a
-- moment ago. Without that, the order is the one of the key (17 and newer), and no value is sorted.
-- How long it stays fresh is in seconds of the database's clock; below 0 it has expired.
-- plan: index audio_chunk_cache_pkey
-- rows <= 2
SELECT
    extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.audio,
    c.duration_ms
FROM clonedb.audio_chunk_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = :key::bytea
    AND c.expires_at > statement_timestamp()  -- unless: with_stale
    AND c.expires_at > statement_timestamp() - :stale::interval  -- when: with_stale
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'audio_chunk' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY
    c.expires_at > statement_timestamp() DESC,  -- when: with_stale
    c.user_id DESC
LIMIT 1;

-- name: look_each(user_ids, keys)
-- The fresh entry of each pair of a user and a key, as `look` shows it to that user, with the pair's
-- place from 1. For callers who come together, each for another user, in a context that names them all:
-- what is bound to them is bound to each pair besides.
-- plan: index audio_chunk_cache_pkey
-- plan_cache_mode: force_generic_plan
SELECT
    asked.place,
    found.remaining,
    found.shared,
    found.audio,
    found.duration_ms
FROM unnest(:user_ids::uuid[], :keys::bytea[]) WITH ORDINALITY AS asked (user_id, key, place)
CROSS JOIN LATERAL (  -- noqa: ST05
    SELECT
        extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
        (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
        c.audio,
        c.duration_ms
    FROM clonedb.audio_chunk_cache AS c
    WHERE c.user_id = ANY(ARRAY[asked.user_id, '00000000-0000-0000-0000-000000000000'::uuid])
        AND c.key = asked.key
        AND c.expires_at > statement_timestamp()
        AND EXISTS (
            SELECT
            FROM clonedb.cache_changes AS ch
            WHERE ch.user_id = c.user_id
                AND ch.xid >= pg_snapshot_xmin(c.snapshot)
                AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
                AND 'audio_chunk' = ANY(ch.caches)
        ) IS NOT TRUE
    ORDER BY c.user_id DESC
    LIMIT 1
) AS found;

-- name: purge_expired(user_id, limit, since)^
-- Drops one batch of expired entries, the longest expired first, and says when the last has expired.
-- Locked rows are skipped: whoever renews an entry never waits for more than a batch, and no two
-- can wait for each other. The expiry is checked again on the row that is deleted. `since` is where
-- the batch before has ended: the index keeps what was dropped until the next vacuum, and the
-- thousandth batch would pass by all of it.
-- lane: pool
-- users: all
WITH dropped AS (
    DELETE FROM clonedb.audio_chunk_cache AS c
    WHERE c.ctid = ANY(ARRAY(
            SELECT expired.ctid
            FROM clonedb.audio_chunk_cache AS expired
            WHERE expired.expires_at <= statement_timestamp()
                AND expired.expires_at >= :since::timestamptz  -- filter: since
                AND expired.user_id = :user_id::uuid  -- filter: user
            ORDER BY expired.expires_at ASC
            LIMIT :limit::bigint
            FOR UPDATE SKIP LOCKED
        ))
        AND c.expires_at <= statement_timestamp()
    RETURNING c.expires_at
)
SELECT
    count(*) AS entries,
    max(dropped.expires_at) AS last_expired_at
FROM dropped;

-- name: put(user_id, key, audio, format, duration_ms, sample_rate, tags, ttl)$
-- Stores or renews one entry; writes nothing where it has the same value and half its time left.
-- One row for each key whoever else stores it: the last to store decides, and a fill that began
-- before loses its lease.
WITH revoked AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'audio_chunk'
        AND lease.key = :key::bytea
    RETURNING lease.key
)
INSERT INTO clonedb.audio_chunk_cache AS c (
    user_id,
    key,
    audio,
    format,
    duration_ms,
    sample_rate,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :audio::bytea,
    :format::text,
    :duration_ms::integer,
    :sample_rate::integer,
    :tags::text[],
    statement_timestamp() + :ttl::interval
-- The lease first, as whoever fills does: locks are taken in one order.
WHERE (SELECT count(*) FROM revoked) >= 0
    AND NOT EXISTS (
        SELECT
        FROM clonedb.audio_chunk_cache AS known
        WHERE known.user_id = :user_id::uuid
            AND known.key = :key::bytea
            AND known.expires_at > statement_timestamp() + :ttl::interval / 2
            AND known.tags = :tags::text[]
            AND known.audio = :audio::bytea
            AND known.format = :format::text
            AND known.duration_ms = :duration_ms::integer
            AND known.sample_rate = :sample_rate::integer
            AND EXISTS (
                SELECT
                FROM clonedb.cache_changes AS ch
                WHERE ch.user_id = known.user_id
                    AND ch.xid >= pg_snapshot_xmin(known.snapshot)
                    AND NOT pg_visible_in_snapshot(ch.xid, known.snapshot)
                    AND 'audio_chunk' = ANY(ch.caches)
            ) IS NOT TRUE
    )
ON CONFLICT (user_id, key) DO UPDATE SET
    audio = excluded.audio,
    format = excluded.format,
    duration_ms = excluded.duration_ms,
    sample_rate = excluded.sample_rate,
    snapshot = excluded.snapshot,
    tags = excluded.tags,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
RETURNING true;

-- name: record_hits(user_id, keys, hits)!
-- Adds hits that were counted elsewhere to the user's entries.
-- Locked in the order of the keys: two batches with the same keys cannot deadlock.
WITH counted AS (
    SELECT
        given.key,
        given.hits
    FROM unnest(:keys::bytea[], :hits::bigint[]) AS given (key, hits)
),
locked AS (
    SELECT
        c.key,
        counted.hits
    FROM clonedb.audio_chunk_cache AS c
    INNER JOIN counted ON c.key = counted.key
    WHERE c.user_id = :user_id::uuid
        AND c.expires_at > statement_timestamp()
    ORDER BY c.key ASC
    FOR NO KEY UPDATE OF c
)
UPDATE clonedb.audio_chunk_cache AS c
SET hit_count = c.hit_count + locked.hits
FROM locked
WHERE c.user_id = :user_id::uuid
    AND c.key = locked.key;
