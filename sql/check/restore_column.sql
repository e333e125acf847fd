-- Tells the planner what the values of a column are like.
SELECT pg_restore_attribute_stats(
    'schemaname', 'clonedb',
    'relname', $1::text,
    'attname', $2::text,
    'inherited', $3::boolean,
    'null_frac', $4::real,
    'avg_width', $5::int,
    'n_distinct', $6::real,
    'most_common_vals', $7::text,
    'most_common_freqs', $8::real[]
);
