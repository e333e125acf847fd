-- The LLM response cache: answers of language models.
--
-- `user_id` is the user's in their own scope, and the nil UUID, whose rows are shared, in that of
-- the login. What drops many entries works across users without it, for the worker login.
--
-- A change has made an entry old, or not: IS NOT TRUE keeps that a question for each entry. As a join
-- (NOT EXISTS) it may not look for the transaction in the index, since the snapshot is the row's.

-- name: delete(user_id, key)$
-- Drops one entry, fresh or expired.
DELETE FROM clonedb.llm_response_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.key = :key::bytea
RETURNING
    true,
    pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']));

-- name: fill(user_id, key, response, provider, document_ids, tags, ttl, holder)$
-- Stores what the holder of the key's lease has made, and gives the lease up.
-- Nothing is stored without the lease, which whoever drops or puts the entry takes away, nor where
-- the data have changed since it was taken. A value of NULL says that it is known that there is none.
WITH released AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'llm_response'
        AND lease.key = :key::bytea
        AND lease.holder = :holder::uuid
    RETURNING
        lease.user_id,
        lease.snapshot
)
INSERT INTO clonedb.llm_response_cache AS c (
    user_id,
    key,
    response,
    provider,
    document_ids,
    snapshot,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :response::text,
    :provider::text,
    :document_ids::uuid[],
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
            AND 'llm_response' = ANY(ch.caches)
    ) IS NOT TRUE
ON CONFLICT (user_id, key) DO UPDATE SET
    response = excluded.response,
    provider = excluded.provider,
    document_ids = excluded.document_ids,
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
    c.response,
    c.provider,
    c.document_ids
FROM clonedb.llm_response_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = :key::bytea
    AND c.expires_at > statement_timestamp()
    AND c.response IS NOT NULL
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'llm_response' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY c.user_id DESC
LIMIT 1;

-- name: hottest(user_id, limit)
-- The fresh entries that were used most, as `look` shows them.
-- lane: pool
SELECT
    c.key,
    extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.response,
    c.document_ids
FROM clonedb.llm_response_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.expires_at > statement_timestamp()
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'llm_response' = ANY(ch.caches)
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
-- plan: scan llm_response_cache
DELETE FROM clonedb.llm_response_cache AS c
WHERE true
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']));

-- name: invalidate_by_document(user_id, document_id)!
-- Drops the entries that a document is part of.
-- A user's entries are found through the primary key: no index on an array serves under row-level
-- security, since its operators are not leakproof.
-- lane: pool
-- users: all
-- plan: scan llm_response_cache
DELETE FROM clonedb.llm_response_cache AS c
WHERE :document_id::uuid = ANY(c.document_ids)
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']));

-- name: invalidate_by_tag(user_id, tag)!
-- Drops the entries that bear a tag.
-- lane: pool
-- users: all
-- plan: scan llm_response_cache
DELETE FROM clonedb.llm_response_cache AS c
WHERE :tag::text = ANY(c.tags)
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['llm_response']));

-- name: look(user_id, key, stale)^
-- The entry of a key for the tiers together: what `get` finds, and with_stale one that expired a
-- moment ago. Without that, the order is the one of the key (17 and newer), and no value is sorted.
-- How long it stays fresh is in seconds of the database's clock; below 0 it has expired.
-- plan: index llm_response_cache_pkey
-- rows <= 2
SELECT
    extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.response,
    c.document_ids
FROM clonedb.llm_response_cache AS c
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
            AND 'llm_response' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY
    c.expires_at > statement_timestamp() DESC,  -- when: with_stale
    c.user_id DESC
LIMIT 1;

-- name: look_each(user_ids, keys)
-- The fresh entry of each pair of a user and a key, as `look` shows it to that user, with the pair's
-- place from 1. For callers who come together, each for another user, in a context that names them all:
-- what is bound to them is bound to each pair besides.
-- plan: index llm_response_cache_pkey
-- plan_cache_mode: force_generic_plan
SELECT
    asked.place,
    found.remaining,
    found.shared,
    found.response,
    found.document_ids
FROM unnest(:user_ids::uuid[], :keys::bytea[]) WITH ORDINALITY AS asked (user_id, key, place)
CROSS JOIN LATERAL (  -- noqa: ST05
    SELECT
        extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
        (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
        c.response,
        c.document_ids
    FROM clonedb.llm_response_cache AS c
    WHERE c.user_id = ANY(ARRAY[asked.user_id, '00000000-0000-0000-0000-000000000000'::uuid])
        AND c.key = asked.key
        AND c.expires_at > statement_timestamp()
        AND EXISTS (
            SELECT
            FROM clonedb.cache_changes AS ch
            WHERE ch.user_id = c.user_id
                AND ch.xid >= pg_snapshot_xmin(c.snapshot)
                AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
                AND 'llm_response' = ANY(ch.caches)
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
    DELETE FROM clonedb.llm_response_cache AS c
    WHERE c.ctid = ANY(ARRAY(
            SELECT expired.ctid
            FROM clonedb.llm_response_cache AS expired
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

-- name: put(user_id, key, response, provider, document_ids, tags, ttl)$
-- Stores or renews one entry; writes nothing where it has the same value and half its time left.
-- One row for each key whoever else stores it: the last to store decides, and a fill that began
-- before loses its lease.
WITH revoked AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'llm_response'
        AND lease.key = :key::bytea
    RETURNING lease.key
)
INSERT INTO clonedb.llm_response_cache AS c (
    user_id,
    key,
    response,
    provider,
    document_ids,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :response::text,
    :provider::text,
    :document_ids::uuid[],
    :tags::text[],
    statement_timestamp() + :ttl::interval
-- The lease first, as whoever fills does: locks are taken in one order.
WHERE (SELECT count(*) FROM revoked) >= 0
    AND NOT EXISTS (
        SELECT
        FROM clonedb.llm_response_cache AS known
        WHERE known.user_id = :user_id::uuid
            AND known.key = :key::bytea
            AND known.expires_at > statement_timestamp() + :ttl::interval / 2
            AND known.tags = :tags::text[]
            AND known.response = :response::text
            AND known.provider = :provider::text
            AND known.document_ids = :document_ids::uuid[]
            AND EXISTS (
                SELECT
                FROM clonedb.cache_changes AS ch
                WHERE ch.user_id = known.user_id
                    AND ch.xid >= pg_snapshot_xmin(known.snapshot)
                    AND NOT pg_visible_in_snapshot(ch.xid, known.snapshot)
                    AND 'llm_response' = ANY(ch.caches)
            ) IS NOT TRUE
    )
ON CONFLICT (user_id, key) DO UPDATE SET
    response = excluded.response,
    provider = excluded.provider,
    document_ids = excluded.document_ids,
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
    FROM clonedb.llm_response_cache AS c
    INNER JOIN counted ON c.key = counted.key
    WHERE c.user_id = :user_id::uuid
        AND c.expires_at > statement_timestamp()
    ORDER BY c.key ASC
    FOR NO KEY UPDATE OF c
)
UPDATE clonedb.llm_response_cache AS c
SET hit_count = c.hit_count + locked.hits
FROM locked
WHERE c.user_id = :user_id::uuid
    AND c.key = locked.key;
