INSERT INTO clonedb.rate_limit_receipts (user_id, id, subject, cost, scopes, buckets, taken_at)
SELECT
    u.id,
    gen_random_uuid(),
    '',
    1,
    '{user}',
    '{*}',
    now()
FROM clonedb.users AS u;
