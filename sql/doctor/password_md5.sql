-- name: find()
-- Logins with the old kind of stored password. Only a superuser may look.
SELECT p.oid::regrole::text AS object
FROM pg_catalog.pg_authid AS p
WHERE p.rolcanlogin
    AND p.rolpassword LIKE 'md5%'
ORDER BY object;
