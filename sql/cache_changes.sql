-- Changes of what cached values are made of.
--
-- Whoever changes documents or the active voice records it in the statement of the change; these
-- queries do it by hand. `user_id` is the user's in their own scope, and the nil UUID, whose entries
-- are shared, in that of the login.

-- name: record(user_id, caches)$
-- Makes every entry of some of a user's caches old, and tells every process: from the commit on.
INSERT INTO clonedb.cache_changes AS ch (
    user_id,
    caches
)
VALUES (
    :user_id::uuid,
    :caches::text[]
)
ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))::text;

-- name: tell(user_id, caches)$
-- Tells every process that entries of a user's caches were dropped, from the commit on.
-- access: write
SELECT pg_notify(
    'clonedb_caches', clonedb.cache_notice(:user_id::uuid, :caches::text[])
)::text;

-- name: tell_all(caches)$
-- Tells every process that entries of everybody were dropped, from the commit on.
-- access: write
SELECT pg_notify('clonedb_caches', clonedb.cache_initials(:caches::text[]))::text;
