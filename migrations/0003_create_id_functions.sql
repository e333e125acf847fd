-- Creates the functions that make and read UUIDv7 ids, and the id window of a session.
-- depends: 0002_create_schema
-- why: an id begins with its millisecond, so tables grow at one end, and partitions by month are
--   ranges of ids. PostgreSQL has such functions from 18 on only; these are the same everywhere.
-- phase: before deploy
-- locks: none
-- rollback: drops the functions
--
-- Layout of an id: 48 bits milliseconds since 1970, 4 bits version (7), 12 bits, 2 bits variant
-- (binary 10), 62 random bits. RFC 9562, section 5.7.
--
-- Functions of the form RETURN … bind what they name once and for all when they are created, so no
-- search_path can mislead them, and the planner puts their body in place of the call: three times
-- cheaper in a CHECK than a function with a pinned search_path.

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.uuid_v7() RETURNS uuid
LANGUAGE plpgsql
VOLATILE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_microseconds bigint := extract(EPOCH FROM clock_timestamp()) * 1000000;
BEGIN
    -- The 12 bits after the version hold the microseconds, as RFC 9562 section 6.2 (method 3)
    -- allows, so that ids of one server are in the order of their making to the microsecond.
    -- 28672 is 0x7000. The second half of a random UUID has the variant and the random bits.
    RETURN encode(
        int8send(
            ((v_microseconds / 1000) << 16) | 28672 | ((v_microseconds % 1000) * 4096 / 1000)
        )
        || substring(uuid_send(gen_random_uuid()) FROM 9),
        'hex'
    )::uuid;
END
$$;

COMMENT ON FUNCTION clonedb.uuid_v7() IS
'A new id: UUID version 7 of the database''s clock, in order to the microsecond on one server.';

CREATE FUNCTION clonedb.is_uuid_v7(p_id uuid) RETURNS boolean
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN get_byte(uuid_send(p_id), 6) >> 4 = 7 AND get_byte(uuid_send(p_id), 8) >> 6 = 2;

COMMENT ON FUNCTION clonedb.is_uuid_v7(uuid) IS
'Whether an id is a UUID of version 7 and of the RFC''s variant.';

CREATE FUNCTION clonedb.uuid_v7_time(p_id uuid) RETURNS timestamptz
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
-- Seconds and milliseconds apart: their product with one interval would be inexact from 4148 on.
RETURN (
    timestamp '1970-01-01'
    + ('x' || substr(encode(uuid_send(p_id), 'hex'), 1, 12))::bit(48)::bigint / 1000
    * interval '1 second'
    + ('x' || substr(encode(uuid_send(p_id), 'hex'), 1, 12))::bit(48)::bigint % 1000
    * interval '1 millisecond'
) AT TIME ZONE 'UTC';

COMMENT ON FUNCTION clonedb.uuid_v7_time(uuid) IS
'The time in a UUIDv7, to the millisecond. Of another kind of UUID it is meaningless.';

CREATE FUNCTION clonedb.uuid_v7_floor(p_time timestamptz) RETURNS uuid
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN encode(
    int8send((floor(extract(EPOCH FROM p_time AT TIME ZONE 'UTC') * 1000)::bigint << 16) | 28672)
    || '\x8000000000000000'::bytea,
    'hex'
)::uuid;

COMMENT ON FUNCTION clonedb.uuid_v7_floor(timestamptz) IS
'The lowest UUIDv7 of a time''s millisecond, for ranges of ids. From 1970 on.';

CREATE FUNCTION clonedb.session_window_start(p_started_at timestamptz) RETURNS uuid
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN clonedb.uuid_v7_floor(
    (p_started_at AT TIME ZONE 'UTC' - interval '5 minutes') AT TIME ZONE 'UTC'
);

COMMENT ON FUNCTION clonedb.session_window_start(timestamptz) IS
'The lowest id that a turn of a session started then may have: 5 minutes of slack for clocks.';

CREATE FUNCTION clonedb.session_window_end(p_started_at timestamptz) RETURNS uuid
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN clonedb.uuid_v7_floor(
    (p_started_at AT TIME ZONE 'UTC' + interval '7 days') AT TIME ZONE 'UTC'
);

COMMENT ON FUNCTION clonedb.session_window_end(timestamptz) IS
'The id that every turn of a session started then is below: a session lasts at most 7 days.';

GRANT EXECUTE ON FUNCTION
clonedb.uuid_v7(),
clonedb.is_uuid_v7(uuid),
clonedb.uuid_v7_time(uuid),
clonedb.uuid_v7_floor(timestamptz),
clonedb.session_window_start(timestamptz),
clonedb.session_window_end(timestamptz)
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup, clonedb_dba;
