-- Writes the counts to the log again.

SET LOCAL ROLE clonedb_owner;

ALTER TABLE clonedb.rate_limits SET LOGGED;

COMMENT ON TABLE clonedb.rate_limits IS
'How many requests of a user were admitted and denied, by endpoint and window of time.';
COMMENT ON COLUMN clonedb.rate_limits.window_start IS 'When the window begins.';
