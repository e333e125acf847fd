-- Gives rules without refill one token a day, and refuses others.

SET LOCAL ROLE clonedb_owner;

UPDATE clonedb.rate_limit_rules
SET refill_per_second = 1.0 / 86400
WHERE refill_per_second = 0;

ALTER TABLE clonedb.rate_limit_rules
DROP CONSTRAINT rate_limit_rules_refill_per_second_is_plausible,
ADD CONSTRAINT rate_limit_rules_refill_per_second_is_plausible CHECK (
    refill_per_second > 0 AND refill_per_second <= 1000000000
);

COMMENT ON COLUMN clonedb.rate_limit_rules.refill_per_second IS
'Tokens that come back in a second: the most in the long run.';
