-- Every type: its name, its kind, what an array holds and what a domain is made of.
SELECT
    t.oid::bigint AS type,
    format_type(t.oid, NULL) AS name,
    t.typtype::text AS kind,
    t.typcategory::text AS category,
    CASE WHEN t.typlen = -1 THEN t.typelem::bigint ELSE 0 END AS element,
    t.typbasetype::bigint AS base
FROM pg_catalog.pg_type AS t;
