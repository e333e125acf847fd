-- Drops the functions; a month that was marked keeps its comment, and stays.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.mark_expired_month(text, date, timestamptz);
DROP FUNCTION clonedb.expired_months(timestamptz);
