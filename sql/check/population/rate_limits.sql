INSERT INTO clonedb.rate_limits (user_id, endpoint, window_start, request_count)
SELECT
    u.id,
    'talk',
    date_trunc('minute', now()),
    1
FROM clonedb.users AS u;
