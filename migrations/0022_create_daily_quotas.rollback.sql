-- Drops the quotas, the reservations and the functions that use them; what was used stays.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.settle_conversation(uuid, numeric, integer);
DROP FUNCTION clonedb.reserve_conversation(uuid, numeric);
DROP TABLE clonedb.daily_reservations;
DROP FUNCTION clonedb.use_conversation(numeric, integer);
DROP TABLE clonedb.daily_quotas;
