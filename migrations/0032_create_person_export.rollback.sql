-- Drops the functions that read a person's rows.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.fetch_person_rows(integer);
DROP FUNCTION clonedb.open_person_rows(uuid, text);
