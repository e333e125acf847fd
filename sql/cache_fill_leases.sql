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
-- With it goes a snapshot, the data that the value will be made of: a change that is not in it makes
-- the value old, and its lease anybody's. Whoever is being erased gets none: nothing may be stored
-- behind their back.
WITH owner AS (
    SELECT u.id
    FROM clonedb.users AS u
    WHERE u.id = :user_id::uuid
    FOR KEY SHARE
)
INSERT INTO clonedb.cache_fill_leases AS lease (
    user_id,
    cache,
    key,
    holder,
    expires_at
)
SELECT
    :user_id::uuid,
    :cache::text,
    :key::bytea,
    :holder::uuid,
    statement_timestamp() + make_interval(secs => :seconds::double precision)
WHERE :user_id::uuid = '00000000-0000-0000-0000-000000000000'::uuid
    OR EXISTS (SELECT FROM owner)
ON CONFLICT (user_id, cache, key) DO UPDATE SET
    holder = excluded.holder,
    snapshot = excluded.snapshot,
    expires_at = excluded.expires_at,
    updated_at = statement_timestamp()
WHERE lease.expires_at <= statement_timestamp()
    OR EXISTS (
        SELECT
        FROM clonedb.cache_changes AS ch
        WHERE ch.user_id = lease.user_id
            AND ch.xid >= pg_snapshot_xmin(lease.snapshot)
            AND NOT pg_visible_in_snapshot(ch.xid, lease.snapshot)
            AND lease.cache = ANY(ch.caches)
    )
RETURNING true;
