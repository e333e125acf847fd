-- Tells the planner how many pages and rows a table or index has.
SELECT pg_restore_relation_stats(
    'schemaname', 'clonedb',
    'relname', $1::text,
    'relpages', $2::int,
    'reltuples', $3::real,
    'relallvisible', ($2 * 0.9)::int
);
