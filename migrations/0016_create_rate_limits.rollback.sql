-- Drops the receipts, the counts, the buckets and the rules, with those that were changed.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.rate_limit_receipts;
DROP TABLE clonedb.rate_limits;
DROP TABLE clonedb.rate_limit_buckets;
DROP TABLE clonedb.rate_limit_rules;
DROP DOMAIN clonedb.rate_limit_count;
DROP DOMAIN clonedb.rate_limit_tokens;
DROP DOMAIN clonedb.rate_limit_endpoint;
DROP DOMAIN clonedb.rate_limit_scope;
