INSERT INTO clonedb.rate_limit_buckets (user_id, scope, subject, endpoint, tokens)
SELECT
    u.id,
    'user',
    '',
    '*',
    3.5
FROM clonedb.users AS u;
