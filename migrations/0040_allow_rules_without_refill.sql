-- Allows a rule whose bucket never refills.
-- depends: 0019_grant_migrations_table
-- why: a trial of 20 calls is a bucket of 20 that gets nothing back. A refill of less than one token
--   in 30 years is refused instead: it is a mistake in the unit, and its times fit no interval.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on clonedb.rate_limit_rules, for an instant: it has some dozen rows
-- rollback: rules without refill get one token a day
--
-- squawk-ignore-file ban-drop-constraint, constraint-missing-not-valid

SET LOCAL ROLE clonedb_owner;

ALTER TABLE clonedb.rate_limit_rules
DROP CONSTRAINT rate_limit_rules_refill_per_second_is_plausible,
ADD CONSTRAINT rate_limit_rules_refill_per_second_is_plausible CHECK (
    refill_per_second = 0 OR (refill_per_second >= 1e-9 AND refill_per_second <= 1000000000)
);

COMMENT ON COLUMN clonedb.rate_limit_rules.refill_per_second IS
'Tokens that come back in a second: the most in the long run. With 0 what is taken is gone until a
reset.';
