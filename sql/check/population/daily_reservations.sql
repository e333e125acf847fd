INSERT INTO clonedb.daily_reservations (user_id, id, day, reserved_seconds)
SELECT
    u.id,
    clonedb.uuid_v7(),
    current_date,
    5
FROM clonedb.users AS u;
