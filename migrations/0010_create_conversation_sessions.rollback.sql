-- Drops the sessions with every row.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.conversation_sessions;
