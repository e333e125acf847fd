INSERT INTO clonedb.stored_objects (
    user_id, kind, name, object_key, size_bytes, sha256, content_type
)
SELECT
    u.id,
    'document',
    'diary.txt',
    '00/' || md5(u.id::text),
    1,
    sha256('1'),
    'text/plain'
FROM clonedb.users AS u;
