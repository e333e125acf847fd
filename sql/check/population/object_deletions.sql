INSERT INTO clonedb.object_deletions (object_key)
SELECT '02/' || md5(n.number::text)
FROM generate_series(1, 200) AS n (number);
