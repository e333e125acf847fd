INSERT INTO clonedb.embedding_cache (user_id, key, embedding, model, dimensions, expires_at)
SELECT
    u.id,
    sha256('1'),
    '\x0000803f',
    'small',
    1,
    'infinity'
FROM clonedb.users AS u;
