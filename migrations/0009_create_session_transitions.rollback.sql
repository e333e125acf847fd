-- Drops the transitions, with those that a DBA added.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.session_transitions;
