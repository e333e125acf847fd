-- Drops the functions that take tokens and give them back; what was taken stays.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.log_rate_limits(boolean);
DROP FUNCTION clonedb.refund_tokens(uuid);
DROP FUNCTION clonedb.count_denials(text, integer);
DROP FUNCTION clonedb.take_tokens(text, double precision [], integer [], uuid [], inet);
DROP FUNCTION clonedb.rate_limit_subject(inet);
DROP FUNCTION clonedb.tokens_at(
    double precision, timestamptz, double precision, double precision, timestamptz
);

COMMENT ON COLUMN clonedb.rate_limit_buckets.subject IS
'The address in scope address; empty in the others.';
COMMENT ON COLUMN clonedb.rate_limit_buckets.endpoint IS 'The endpoint of the rule.';
