-- Drops the daily usage with every row.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.daily_usage;
