INSERT INTO clonedb.object_uploads (user_id, object_key, expires_at)
SELECT
    u.id,
    '01/' || md5(u.id::text),
    'infinity'
FROM clonedb.users AS u;
