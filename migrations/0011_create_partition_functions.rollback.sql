-- Drops the functions that make and count partitions.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.months_ahead(regclass);
DROP FUNCTION clonedb.create_month_partitions(regclass, date, integer);
DROP FUNCTION clonedb.partition_floors(regclass);
