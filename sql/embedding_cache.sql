-- The embedding cache: vectors of texts.
--
-- `user_id` is the user's in their own scope, and the nil UUID, whose rows are shared, in that of
-- the login. What drops many entries works across users without it, for the worker login.
--
-- A change has made an entry old, or not: IS NOT TRUE keeps that a question for each entry. As a join
-- (NOT EXISTS) it may not look for the transaction in the index, since the snapshot is the row's.

-- name: delete(user_id, key)$
-- Drops one entry, fresh or expired.
DELETE FROM clonedb.embedding_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.key = :key::bytea
RETURNING
    true,
    pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['embedding']));

-- name: fill(user_id, key, embedding, model, dimensions, tags, ttl, holder)$
-- Stores what the holder of the key's lease has made, and gives the lease up.
-- Nothing is stored without the lease, which whoever drops or puts the entry takes away, nor where
-- the data have changed since it was taken. A value of NULL says that it is known that there is none.
WITH released AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'embedding'
        AND lease.key = :key::bytea
        AND lease.holder = :holder::uuid
    RETURNING
        lease.user_id,
        lease.snapshot
)
INSERT INTO clonedb.embedding_cache AS c (
    user_id,
    key,
    embedding,
    model,
    dimensions,
    snapshot,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :embedding::bytea,
    :model::text,
    :dimensions::integer,
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
            AND 'embedding' = ANY(ch.caches)
    ) IS NOT TRUE
ON CONFLICT (user_id, key) DO UPDATE SET
    embedding = excluded.embedding,
    model = excluded.model,
    dimensions = excluded.dimensions,
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
    c.embedding,
    c.model,
    c.dimensions
FROM clonedb.embedding_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = :key::bytea
    AND c.expires_at > statement_timestamp()
    AND c.embedding IS NOT NULL
    AND c.dimensions IS NOT NULL
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'embedding' = ANY(ch.caches)
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
    c.embedding,
    c.model,
    c.dimensions
FROM clonedb.embedding_cache AS c
WHERE c.user_id = ANY(ARRAY[:user_id::uuid, '00000000-0000-0000-0000-000000000000'::uuid])
    AND c.key = ANY(:keys::bytea[])
    AND c.expires_at > statement_timestamp()
    AND c.embedding IS NOT NULL
    AND c.dimensions IS NOT NULL
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'embedding' = ANY(ch.caches)
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
    c.embedding
FROM clonedb.embedding_cache AS c
WHERE c.user_id = :user_id::uuid
    AND c.expires_at > statement_timestamp()
    AND EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = c.user_id
            AND ch.xid >= pg_snapshot_xmin(c.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
            AND 'embedding' = ANY(ch.caches)
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
-- plan: scan embedding_cache
DELETE FROM clonedb.embedding_cache AS c
WHERE true
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['embedding']));

-- name: invalidate_by_tag(user_id, tag)!
-- Drops the entries that bear a tag.
-- lane: pool
-- users: all
-- plan: scan embedding_cache
DELETE FROM clonedb.embedding_cache AS c
WHERE :tag::text = ANY(c.tags)
    AND c.user_id = :user_id::uuid  -- filter: user
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(c.user_id, ARRAY['embedding']));

-- name: look(user_id, key, stale)^
-- The entry of a key for the tiers together: what `get` finds, and with_stale one that expired a
-- moment ago. Without that, the order is the one of the key (17 and newer), and no value is sorted.
-- How long it stays fresh is in seconds of the database's clock; below 0 it has expired.
-- plan: index embedding_cache_pkey
-- rows <= 2
SELECT
    extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
    (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
    c.embedding
FROM clonedb.embedding_cache AS c
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
            AND 'embedding' = ANY(ch.caches)
    ) IS NOT TRUE
ORDER BY
    c.expires_at > statement_timestamp() DESC,  -- when: with_stale
    c.user_id DESC
LIMIT 1;

-- name: look_each(user_ids, keys)
-- The fresh entry of each pair of a user and a key, as `look` shows it to that user, with the pair's
-- place from 1. For callers who come together, each for another user, in a context that names them all:
-- what is bound to them is bound to each pair besides.
-- plan: index embedding_cache_pkey
-- plan_cache_mode: force_generic_plan
SELECT
    asked.place,
    found.remaining,
    found.shared,
    found.embedding
FROM unnest(:user_ids::uuid[], :keys::bytea[]) WITH ORDINALITY AS asked (user_id, key, place)
CROSS JOIN LATERAL (  -- noqa: ST05
    SELECT
        extract(EPOCH FROM c.expires_at - statement_timestamp())::double precision AS remaining,
        (c.user_id = '00000000-0000-0000-0000-000000000000'::uuid) AS shared,
        c.embedding
    FROM clonedb.embedding_cache AS c
    WHERE c.user_id = ANY(ARRAY[asked.user_id, '00000000-0000-0000-0000-000000000000'::uuid])
        AND c.key = asked.key
        AND c.expires_at > statement_timestamp()
        AND EXISTS (
            SELECT
            FROM clonedb.cache_changes AS ch
            WHERE ch.user_id = c.user_id
                AND ch.xid >= pg_snapshot_xmin(c.snapshot)
                AND NOT pg_visible_in_snapshot(ch.xid, c.snapshot)
                AND 'embedding' = ANY(ch.caches)
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
    DELETE FROM clonedb.embedding_cache AS c
    WHERE c.ctid = ANY(ARRAY(
            SELECT expired.ctid
            FROM clonedb.embedding_cache AS expired
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

-- name: put(user_id, key, embedding, model, dimensions, tags, ttl)$
-- Stores or renews one entry; writes nothing where it has the same value and half its time left.
-- One row for each key whoever else stores it: the last to store decides, and a fill that began
-- before loses its lease.
WITH revoked AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'embedding'
        AND lease.key = :key::bytea
    RETURNING lease.key
)
INSERT INTO clonedb.embedding_cache AS c (
    user_id,
    key,
    embedding,
    model,
    dimensions,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    :key::bytea,
    :embedding::bytea,
    :model::text,
    :dimensions::integer,
    :tags::text[],
    statement_timestamp() + :ttl::interval
-- The lease first, as whoever fills does: locks are taken in one order.
WHERE (SELECT count(*) FROM revoked) >= 0
    AND NOT EXISTS (
        SELECT
        FROM clonedb.embedding_cache AS known
        WHERE known.user_id = :user_id::uuid
            AND known.key = :key::bytea
            AND known.expires_at > statement_timestamp() + :ttl::interval / 2
            AND known.tags = :tags::text[]
            AND known.embedding = :embedding::bytea
            AND known.model = :model::text
            AND known.dimensions = :dimensions::integer
            AND EXISTS (
                SELECT
                FROM clonedb.cache_changes AS ch
                WHERE ch.user_id = known.user_id
                    AND ch.xid >= pg_snapshot_xmin(known.snapshot)
                    AND NOT pg_visible_in_snapshot(ch.xid, known.snapshot)
                    AND 'embedding' = ANY(ch.caches)
            ) IS NOT TRUE
    )
ON CONFLICT (user_id, key) DO UPDATE SET
    embedding = excluded.embedding,
    model = excluded.model,
    dimensions = excluded.dimensions,
    snapshot = excluded.snapshot,
    tags = excluded.tags,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
RETURNING true;

-- name: put_each(user_id, keys, embeddings, models, seconds)
-- Stores or renews many entries without tags as `put` does, and returns the keys of those it wrote.
-- One order of locks for everybody: two batches with the same keys cannot deadlock.
-- plan_cache_mode: force_generic_plan
WITH revoked AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'embedding'
        AND lease.key = ANY(:keys::bytea[])
    RETURNING lease.key
)
INSERT INTO clonedb.embedding_cache AS c (
    user_id,
    key,
    embedding,
    model,
    dimensions,
    expires_at
)
SELECT
    :user_id::uuid,
    given.key,
    given.embedding,
    given.model,
    octet_length(given.embedding) / 4,
    statement_timestamp() + make_interval(secs => given.seconds)
FROM unnest(
    :keys::bytea[],
    :embeddings::bytea[],
    :models::text[],
    :seconds::double precision[]
) AS given (key, embedding, model, seconds)
-- The leases first, as whoever fills does: locks are taken in one order.
WHERE (SELECT count(*) FROM revoked) >= 0
    AND EXISTS (
        SELECT
        FROM clonedb.embedding_cache AS known
        WHERE known.user_id = :user_id::uuid
            AND known.key = given.key
            AND known.expires_at > statement_timestamp() + make_interval(secs => given.seconds / 2)
            AND known.tags = '{}'
            AND known.embedding = given.embedding
            AND known.model = given.model
            AND EXISTS (
                SELECT
                FROM clonedb.cache_changes AS ch
                WHERE ch.user_id = known.user_id
                    AND ch.xid >= pg_snapshot_xmin(known.snapshot)
                    AND NOT pg_visible_in_snapshot(ch.xid, known.snapshot)
                    AND 'embedding' = ANY(ch.caches)
            ) IS NOT TRUE
    ) IS NOT TRUE
ORDER BY given.key
ON CONFLICT (user_id, key) DO UPDATE SET
    embedding = excluded.embedding,
    model = excluded.model,
    dimensions = excluded.dimensions,
    snapshot = excluded.snapshot,
    tags = excluded.tags,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
RETURNING c.key;

-- name: put_many(user_id, keys, embeddings, model, tags, ttl)!
-- Stores or renews the vectors of one model, those alone that `put` would write.
-- One order of locks for everybody: two batches with the same keys cannot deadlock.
WITH revoked AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    WHERE lease.user_id = :user_id::uuid
        AND lease.cache = 'embedding'
        AND lease.key = ANY(:keys::bytea[])
    RETURNING lease.key
)
INSERT INTO clonedb.embedding_cache AS c (
    user_id,
    key,
    embedding,
    model,
    dimensions,
    tags,
    expires_at
)
SELECT
    :user_id::uuid,
    given.key,
    given.embedding,
    :model::text,
    octet_length(given.embedding) / 4,
    :tags::text[],
    statement_timestamp() + :ttl::interval
FROM unnest(:keys::bytea[], :embeddings::bytea[]) AS given (key, embedding)
WHERE NOT EXISTS (
    SELECT
    FROM clonedb.embedding_cache AS known
    WHERE known.user_id = :user_id::uuid
        AND known.key = given.key
        AND known.expires_at > statement_timestamp() + :ttl::interval / 2
        AND known.tags = :tags::text[]
        AND known.embedding = given.embedding
        AND known.model = :model::text
        AND EXISTS (
            SELECT
            FROM clonedb.cache_changes AS ch
            WHERE ch.user_id = known.user_id
                AND ch.xid >= pg_snapshot_xmin(known.snapshot)
                AND NOT pg_visible_in_snapshot(ch.xid, known.snapshot)
                AND 'embedding' = ANY(ch.caches)
        ) IS NOT TRUE
)
ORDER BY given.key
ON CONFLICT (user_id, key) DO UPDATE SET
    embedding = excluded.embedding,
    model = excluded.model,
    dimensions = excluded.dimensions,
    snapshot = excluded.snapshot,
    tags = excluded.tags,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp();

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
    FROM clonedb.embedding_cache AS c
    INNER JOIN counted ON c.key = counted.key
    WHERE c.user_id = :user_id::uuid
        AND c.expires_at > statement_timestamp()
    ORDER BY c.key ASC
    FOR NO KEY UPDATE OF c
)
UPDATE clonedb.embedding_cache AS c
SET hit_count = c.hit_count + locked.hits
FROM locked
WHERE c.user_id = :user_id::uuid
    AND c.key = locked.key;

-- name: share_common(holders, ttl, limit)!
-- Makes embeddings that so many users hold for themselves readable by everybody.
-- One that an expired row holds counts too: who asked a while ago may ask again. The numbers must be
-- the same to the last bit for all of them, and nothing but the key, the model and the numbers is
-- shared.
-- lane: pool
-- users: all
-- plan: scan embedding_cache
WITH common AS (
    SELECT own.key
    FROM clonedb.embedding_cache AS own
    WHERE own.user_id <> '00000000-0000-0000-0000-000000000000'::uuid
    GROUP BY own.key
    HAVING count(*) >= :holders::bigint
),
agreed AS (
    SELECT
        own.key,
        own.embedding,
        own.model,
        own.dimensions,
        count(*) AS holders
    FROM clonedb.embedding_cache AS own
    INNER JOIN common ON own.key = common.key
    WHERE own.user_id <> '00000000-0000-0000-0000-000000000000'::uuid
        AND own.embedding IS NOT NULL
        AND NOT EXISTS (
            SELECT
            FROM clonedb.embedding_cache AS known
            WHERE known.user_id = '00000000-0000-0000-0000-000000000000'::uuid
                AND known.key = own.key
                AND known.expires_at > statement_timestamp()
        )
    GROUP BY
        own.key,
        own.embedding,
        own.model,
        own.dimensions
    HAVING count(*) >= :holders::bigint
),
chosen AS (
    SELECT DISTINCT ON (agreed.key)
        agreed.key,
        agreed.embedding,
        agreed.model,
        agreed.dimensions
    FROM agreed
    ORDER BY
        agreed.key ASC,
        agreed.holders DESC,
        agreed.embedding ASC
    LIMIT :limit::bigint
)
INSERT INTO clonedb.embedding_cache AS c (
    user_id,
    key,
    embedding,
    model,
    dimensions,
    expires_at
)
SELECT
    '00000000-0000-0000-0000-000000000000'::uuid,
    chosen.key,
    chosen.embedding,
    chosen.model,
    chosen.dimensions,
    statement_timestamp() + :ttl::interval
FROM chosen
ORDER BY chosen.key
ON CONFLICT (user_id, key) DO UPDATE SET
    embedding = excluded.embedding,
    model = excluded.model,
    dimensions = excluded.dimensions,
    snapshot = excluded.snapshot,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp();
