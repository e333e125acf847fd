INSERT INTO clonedb.conversation_turns (
    user_id, session_id, session_started_at, turn_number, user_transcript, llm_response,
    total_latency_ms
)
SELECT
    s.user_id,
    s.id,
    s.started_at,
    n.number,
    'Who are you?',
    'Your twin.',
    5
FROM clonedb.conversation_sessions AS s
CROSS JOIN generate_series(1, 2) AS n (number);
