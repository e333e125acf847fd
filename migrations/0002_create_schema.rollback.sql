-- Drops the schema, which is empty by now, and gives EXECUTE on later functions back to PUBLIC.

SET LOCAL ROLE clonedb_owner;

ALTER DEFAULT PRIVILEGES GRANT EXECUTE ON FUNCTIONS TO PUBLIC;

DROP SCHEMA clonedb;
