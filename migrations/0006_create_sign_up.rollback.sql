-- Drops sign-up and find-login.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.find_login(text);
DROP FUNCTION clonedb.sign_up(uuid, text, text, text[], text, text, text, jsonb);
