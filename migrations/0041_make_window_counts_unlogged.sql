-- Takes the counts by window out of the write-ahead log.
-- depends: 0040_allow_rules_without_refill
-- why: they are written in the statement that takes tokens. Logged, its commit would wait for the
--   disk with everybody's bucket locked, and whoever is denied a million times would write a million
--   times to the log. What has to survive a crash is in daily_usage.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on clonedb.rate_limits while it is rewritten: some seconds for each GB
-- rollback: writes the table to the log again, with its rows

SET LOCAL ROLE clonedb_owner;

ALTER TABLE clonedb.rate_limits SET UNLOGGED;

COMMENT ON TABLE clonedb.rate_limits IS
'How many requests of a user were admitted and denied, by endpoint and minute. Empty after a crash,
like the buckets.';
COMMENT ON COLUMN clonedb.rate_limits.window_start IS 'The minute that is counted.';
