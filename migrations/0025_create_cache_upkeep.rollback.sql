-- Drops the function, the budgets and the figures.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.trim_caches(bigint);
DROP TABLE clonedb.cache_use;
DROP TABLE clonedb.cache_budgets;
