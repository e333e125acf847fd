-- Drops the functions that erase people, and the ledger with every receipt in it.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.import_erasures(jsonb);
DROP FUNCTION clonedb.close_erasures(integer);
DROP FUNCTION clonedb.open_transactions();
DROP FUNCTION clonedb.erase_user(uuid, timestamptz);
DROP FUNCTION clonedb.remove_person_rows(uuid, uuid);
DROP FUNCTION clonedb.count_person_rows(uuid);
DROP FUNCTION clonedb.person_tables();
ALTER TABLE clonedb.object_deletions DROP COLUMN erasure_id;
DROP TABLE clonedb.erasures;
DROP FUNCTION clonedb.receipt_digest(uuid, bytea, timestamptz, jsonb);
DROP FUNCTION clonedb.person_digest(uuid);
