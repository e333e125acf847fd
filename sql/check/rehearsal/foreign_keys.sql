-- Every foreign key: from which columns to which table, and what a deletion there does here.
SELECT
    k.conrelid::bigint AS referencing,
    k.conkey::int[] AS columns,
    k.confrelid::bigint AS referenced,
    k.confkey::int[] AS keys,
    k.confdeltype::text AS on_delete
FROM pg_catalog.pg_constraint AS k
WHERE k.contype = 'f'
    AND k.conparentid = 0;
