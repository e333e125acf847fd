-- Drops the leases.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.cache_fill_leases;
