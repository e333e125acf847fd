INSERT INTO clonedb.llm_response_cache (user_id, key, response, provider, expires_at)
SELECT
    u.id,
    sha256('1'),
    'Your twin.',
    'gpt-4-turbo',
    'infinity'
FROM clonedb.users AS u;
