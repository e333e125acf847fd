-- Drops the rows of large objects; what lies in the store stays there, unknown to the database.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.object_deletions;
DROP TABLE clonedb.object_uploads;
DROP TABLE clonedb.stored_objects;
