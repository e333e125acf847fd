INSERT INTO clonedb.vector_search_cache (user_id, key, results, expires_at)
SELECT
    u.id,
    sha256('1'),
    '[]',
    'infinity'
FROM clonedb.users AS u;
