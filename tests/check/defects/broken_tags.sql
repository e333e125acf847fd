-- Plans that are not what the tags say.

-- name: no_such_index(user_id)
-- The index that is named does not exist.
-- plan: index voice_models_everything
SELECT v.id FROM clonedb.voice_models AS v WHERE v.user_id = :user_id::uuid;

-- name: another_index_with_a_filter(user_id, voice, limit)
-- The filter has an index of its own.
-- plan: index conversation_sessions_living_newest
SELECT s.id
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL
    AND s.voice_model_id = :voice::uuid  -- filter: voice
ORDER BY s.started_at DESC, s.id DESC
LIMIT :limit::bigint;

-- name: another_index_with_a_flag(user_id)
-- With the flag the index is too small.
-- plan: index voice_models_living_newest
SELECT v.id
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.deleted_at IS NULL  -- unless: include_deleted
ORDER BY v.created_at DESC, v.id DESC;

-- name: too_many_rows_in_a_cte(user_id)
-- The rows are read in a CTE, and one comes back.
-- rows <= 5
WITH mine AS MATERIALIZED (
    SELECT s.total_turns FROM clonedb.conversation_sessions AS s WHERE s.user_id = :user_id::uuid
)
SELECT count(*) AS n FROM mine;

-- name: a_scan_in_a_sub_select(id)
-- A sub-select reads a large table whole.
-- users: all
SELECT
    u.name,
    (SELECT max(length(d.title)) FROM clonedb.knowledge_documents AS d WHERE d.title ~ 'x') AS longest
FROM clonedb.users AS u
WHERE u.id = :id::uuid;

-- name: a_scan_by_an_index(what)
-- The whole of an index, for its order.
-- users: all
SELECT t.id FROM clonedb.knowledge_documents AS t
WHERE t.metadata @> :what::jsonb
ORDER BY t.user_id, t.id;

-- name: a_scan_of_a_sample()
-- TABLESAMPLE looks at every page.
-- users: all
SELECT count(*) AS n FROM clonedb.knowledge_documents AS d TABLESAMPLE BERNOULLI (50);

-- name: a_scan_of_every_month()
-- All months of the turns.
-- users: all
SELECT max(t.total_cost) AS most FROM clonedb.conversation_turns AS t;

-- name: a_scan_that_nobody_may_do()
-- No login may change what is logged, and the plan is as bad as before.
-- users: all
UPDATE clonedb.audit_logs AS l SET resource = 'x' WHERE l.created_at > now();

-- name: no_plan_at_all()
-- It prepares, and no login that runs it may read what it reads.
SELECT a.rolname FROM pg_catalog.pg_authid AS a;

-- name: a_promise_that_is_over(user_id)
-- The scan that was meant is not done.
-- plan: scan conversation_sessions
SELECT s.id FROM clonedb.conversation_sessions AS s WHERE s.user_id = :user_id::uuid;
