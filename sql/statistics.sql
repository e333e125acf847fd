-- Statistics: figures across all users, for the worker login.

-- name: by_provider(started_from, started_before)
-- What all living sessions add up to for each pair of providers, most turns first.
-- lane: pool
-- users: all
-- plan: scan conversation_sessions
SELECT
    s.llm_provider,
    s.tts_provider,
    count(*) AS sessions,
    coalesce(sum(s.total_turns), 0)::bigint AS turns,
    (sum(s.total_latency_ms)::double precision / nullif(sum(s.total_turns), 0))
        AS average_latency_ms,
    coalesce(sum(s.total_cost), 0) AS total_cost
FROM clonedb.conversation_sessions AS s
WHERE s.deleted_at IS NULL
    AND s.started_at >= :started_from::timestamptz  -- filter: started_from
    AND s.started_at < :started_before::timestamptz  -- filter: started_before
GROUP BY
    s.llm_provider,
    s.tts_provider
ORDER BY
    turns DESC,
    s.llm_provider ASC,
    s.tts_provider ASC;

-- name: totals()^
-- How many living users and sessions there are, and what their turns add up to.
-- lane: pool
-- users: all
-- plan: scan conversation_sessions, scan users
SELECT
    (SELECT count(*) FROM clonedb.users AS u WHERE u.deleted_at IS NULL) AS users,
    count(*) AS sessions,
    count(*) FILTER (WHERE s.ended_at IS NULL) AS active_sessions,
    coalesce(sum(s.total_turns), 0)::bigint AS turns,
    (sum(s.total_latency_ms)::double precision / nullif(sum(s.total_turns), 0))
        AS average_latency_ms,
    coalesce(sum(s.total_cost), 0) AS total_cost
FROM clonedb.conversation_sessions AS s
WHERE s.deleted_at IS NULL;
