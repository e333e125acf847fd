-- Drops the functions that take tokens; what was taken stays.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.find_tokens(text, inet);
DROP FUNCTION clonedb.take_tokens(text, double precision, inet);
DROP FUNCTION clonedb.rate_limit_states(uuid, text, inet);
DROP FUNCTION clonedb.rate_limit_subject(inet);
DROP FUNCTION clonedb.tokens_at(
    double precision, timestamptz, double precision, double precision, timestamptz
);
DROP TYPE clonedb.rate_limit_state;

COMMENT ON COLUMN clonedb.rate_limit_buckets.subject IS
'The address in scope address; empty in the others.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.endpoint IS 'The endpoint of the rule.';
