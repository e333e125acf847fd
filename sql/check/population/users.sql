INSERT INTO clonedb.users (email, name, speaking_style)
SELECT
    format('person%s@example.com', n.number),
    format('Person %s', n.number),
    'dry'
FROM generate_series(1, 200) AS n (number);
