INSERT INTO clonedb.daily_usage (user_id, day, conversation_seconds, turns)
SELECT
    u.id,
    current_date,
    5,
    1
FROM clonedb.users AS u;
