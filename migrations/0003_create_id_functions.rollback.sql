-- Drops the id functions; nothing uses them by now.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.session_window_end(timestamptz);
DROP FUNCTION clonedb.session_window_start(timestamptz);
DROP FUNCTION clonedb.uuid_v7_floor(timestamptz);
DROP FUNCTION clonedb.uuid_v7_time(uuid);
DROP FUNCTION clonedb.is_uuid_v7(uuid);
DROP FUNCTION clonedb.uuid_v7();
