INSERT INTO clonedb.cache_fill_leases (user_id, cache, key, holder, expires_at)
SELECT
    u.id,
    'embedding',
    sha256('1'),
    u.id,
    'infinity'
FROM clonedb.users AS u;
