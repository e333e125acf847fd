-- Drops the counts, the buckets and the rules, with those that were changed.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.rate_limits;
DROP TABLE clonedb.rate_limit_buckets;
DROP TABLE clonedb.rate_limit_rules;
