INSERT INTO clonedb.cache_changes (user_id, caches)
SELECT
    u.id,
    '{embedding}'
FROM clonedb.users AS u;
