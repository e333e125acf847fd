INSERT INTO clonedb.cache_use (hour, cache, misses)
SELECT
    date_trunc('hour', now(), 'UTC') - make_interval(hours => n.number),
    'embedding',
    1
FROM generate_series(1, 200) AS n (number);
