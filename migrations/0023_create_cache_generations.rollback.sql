-- Drops the generations and the function that words a notice.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.cache_notice(uuid, text);
DROP TABLE clonedb.cache_generations;
