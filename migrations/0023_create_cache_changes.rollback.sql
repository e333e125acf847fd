-- Drops the changes and the functions that word a notice.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.cache_notice(uuid, text[]);
DROP FUNCTION clonedb.cache_initials(text[]);
DROP TABLE clonedb.cache_changes;
