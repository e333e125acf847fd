INSERT INTO clonedb.erasures (user_digest, open_user_id, row_counts, digest, erased_at, closed_at)
SELECT
    sha256(convert_to(n.number::text, 'UTF8')),
    CASE WHEN n.number % 10 = 0 THEN clonedb.uuid_v7() END,
    '{"users": 1}',
    sha256(convert_to(n.number::text, 'UTF8')),
    now(),
    CASE WHEN n.number % 10 <> 0 THEN now() END
FROM generate_series(1, 200) AS n (number);
