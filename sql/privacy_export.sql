-- Everything about one person, read in one snapshot. The worker login's.
--
-- Which tables and columns there are is read from the catalogue, by functions of the database: what a
-- later migration adds is exported without a change here.

-- name: columns()
-- Every column of the tables that hold rows of people, with what its comment says.
SELECT
    t.table_name,
    obj_description(t.relation::oid, 'pg_class') AS table_meaning,
    t.user_column,
    coalesce(a.attname::text, '') AS column_name,
    coalesce(format_type(a.atttypid, a.atttypmod), '') AS data_type,
    substring(col_description(t.relation::oid, a.attnum) FROM '\[personal: ([a-z]+)\]$')
        AS personal_class,
    coalesce(
        regexp_replace(
            col_description(t.relation::oid, a.attnum), '\s*\[personal: [a-z]+\]$', ''
        ),
        ''
    ) AS meaning
FROM clonedb.person_tables() AS t
INNER JOIN pg_catalog.pg_attribute AS a ON a.attrelid = t.relation
WHERE a.attnum > 0
    AND NOT a.attisdropped
ORDER BY
    t.table_name,
    a.attnum;

-- name: fetch_rows(bytes)
-- The next rows of the table that was opened, each a line of JSON; none at the end.
-- lane: pool
-- timeout: 600 s
SELECT fetched.line
FROM clonedb.fetch_person_rows(:bytes::integer) AS fetched (line);

-- name: find_objects(user_id, previous_id, limit)
-- The next objects of a person, in the order of their ids, also where the person is deleted.
SELECT
    o.id,
    o.kind,
    o.name,
    o.object_key,
    o.size_bytes,
    o.sha256,
    o.content_type,
    o.metadata,
    o.created_at,
    o.updated_at
FROM clonedb.stored_objects AS o
WHERE o.user_id = :user_id::uuid
    AND o.id > :previous_id::uuid
ORDER BY o.id
LIMIT :limit::bigint;

-- name: find_person(id)^
-- Whether there is such a person, living or deleted, and the moment of the snapshot.
SELECT
    now() AS moment,
    u.deleted_at,
    (
        SELECT count(*)
        FROM clonedb.stored_objects AS o
        WHERE o.user_id = u.id
    ) AS objects
FROM clonedb.users AS u
WHERE u.id = :id::uuid;

-- name: open_rows(id, table_name)$
-- Opens a cursor on a person's rows in a table, for fetch_rows in the same transaction.
-- lane: pool
SELECT clonedb.open_person_rows(:id::uuid, :table_name::text);
