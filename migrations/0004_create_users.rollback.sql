-- Drops the users with every row, and the functions of the context.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.living_subject_ref();
DROP FUNCTION clonedb.living_user_id();
DROP FUNCTION clonedb.current_user_id();
DROP TABLE clonedb.users;
