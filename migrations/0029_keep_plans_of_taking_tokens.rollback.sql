-- Lets the server choose again between kept plans and new ones.

SET LOCAL ROLE clonedb_owner;

ALTER FUNCTION clonedb.take_tokens(
    text, double precision [], integer [], uuid [], inet
) RESET plan_cache_mode;
