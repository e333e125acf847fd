-- Creates the schema clonedb, owned by clonedb_owner, and takes from PUBLIC what it has by default.
-- depends: 0001_create_roles
-- why: PostgreSQL lets everybody execute every new function and make temporary tables; a temporary
--   table can stand in the way of a real one, and a definer function acts with its owner's rights.
-- phase: before deploy
-- locks: none
-- rollback: drops the schema and restores EXECUTE for PUBLIC on the owner's later functions;
--   temporary tables stay revoked, since this file cannot know whether they were before

DO $create_schema$
BEGIN
    -- Run by whoever migrates: clonedb_owner itself needs no CREATE on the database.
    CREATE SCHEMA clonedb AUTHORIZATION clonedb_owner;
    BEGIN
        EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXCEPTION
        WHEN insufficient_privilege THEN NULL;
    END;
    IF has_database_privilege('clonedb_app', current_database(), 'TEMPORARY') THEN
        RAISE WARNING 'clonedb_app may still create temporary tables in %', current_database()
            USING HINT = format(
                'As the owner of the database: REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC',
                current_database()
            );
    END IF;
END
$create_schema$;

SET LOCAL ROLE clonedb_owner;

COMMENT ON SCHEMA clonedb IS
'Users, their voice and face models, conversations, documents, caches, limits and audit.';

-- Without IN SCHEMA: that form can only add to what PUBLIC has everywhere, never take it away.
ALTER DEFAULT PRIVILEGES REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

GRANT USAGE ON SCHEMA clonedb TO
clonedb_app,
clonedb_worker,
clonedb_readonly,
clonedb_backup,
clonedb_dba;
