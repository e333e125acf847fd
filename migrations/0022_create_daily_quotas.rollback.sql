-- Drops the quotas and the function that uses them; what was used stays.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.use_conversation(numeric, integer);
DROP TABLE clonedb.daily_quotas;
