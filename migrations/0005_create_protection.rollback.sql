-- Takes grants and protection from the users and drops the function that gives them.

SET LOCAL ROLE clonedb_owner;

REVOKE ALL ON clonedb.users FROM
clonedb_app,
clonedb_worker,
clonedb_readonly,
clonedb_backup,
clonedb_dba;

DROP POLICY own_rows ON clonedb.users;
DROP POLICY every_row_to_read ON clonedb.users;
DROP POLICY every_row ON clonedb.users;
ALTER TABLE clonedb.users NO FORCE ROW LEVEL SECURITY;
ALTER TABLE clonedb.users DISABLE ROW LEVEL SECURITY;

DROP FUNCTION clonedb.protect_user_table(regclass, text);
