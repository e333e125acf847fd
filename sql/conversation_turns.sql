-- Conversation turns: what was said, how long it took and what it cost.
--
-- Turns are partitioned by the month in their id. Every read bounds the id by the window of its
-- session, so that other months are pruned, and orders by turn_number, since two hosts' clocks
-- may disagree on ids. Planning over all months costs more than running (five times in `record`),
-- so the plans are generic: they prune when they run. Who has the session, and so its window, gives
-- it (the flag `window`): the other months are then pruned before they are opened, which halves the
-- time of a page. Given too narrow, turns are missing; it is the caller's own session.

-- name: count(user_id, session_id, first_id, end_id)$
-- How many turns a living session has stored.
-- plan_cache_mode: force_generic_plan
WITH bounds AS (
    SELECT
        s.turn_window_start AS first_id,
        s.turn_window_end AS end_id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :session_id::uuid
        AND s.deleted_at IS NULL
)
SELECT count(*)
FROM clonedb.conversation_turns AS t
WHERE t.user_id = :user_id::uuid
    AND t.session_id = :session_id::uuid
    AND t.id >= (SELECT bounds.first_id FROM bounds)  -- unless: window
    AND t.id < (SELECT bounds.end_id FROM bounds)  -- unless: window
    AND EXISTS (SELECT FROM bounds)  -- when: window
    AND t.id >= :first_id::uuid  -- when: window
    AND t.id < :end_id::uuid;  -- when: window

-- name: find_by_id(user_id, session_id, id)^
-- One turn of a living session.
-- plan_cache_mode: force_generic_plan
-- plan: index conversation_turns_pkey
-- rows <= 1
SELECT
    t.session_id,
    t.id,
    t.turn_number,
    t.user_transcript,
    t.transcript_confidence,
    t.user_audio_duration_ms,
    t.retrieved_chunks,
    t.llm_response,
    t.response_audio_duration_ms,
    t.asr_latency_ms,
    t.rag_latency_ms,
    t.llm_latency_ms,
    t.tts_latency_ms,
    t.total_latency_ms,
    t.asr_cost,
    t.llm_cost,
    t.tts_cost,
    t.total_cost,
    t.created_at
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.conversation_turns AS t
    ON t.user_id = s.user_id
    AND t.session_id = s.id
WHERE s.user_id = :user_id::uuid
    AND s.id = :session_id::uuid
    AND s.deleted_at IS NULL
    AND t.id = :id::uuid;

-- name: find_many(user_id, session_id, first_id, end_id, turn_from, turn_to, after_turn_number, after_id, limit)
-- One page of a living session's turns.
-- The bounds are sub-selects: a join would put the session inside and read all months in order.
-- plan_cache_mode: force_generic_plan
-- rows <= 500
WITH bounds AS (
    SELECT
        s.turn_window_start AS first_id,
        s.turn_window_end AS end_id,
        s.total_turns
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :session_id::uuid
        AND s.deleted_at IS NULL
)
SELECT
    t.session_id,
    t.id,
    t.turn_number,
    t.user_transcript,
    t.transcript_confidence,
    t.user_audio_duration_ms,
    t.retrieved_chunks,
    t.llm_response,
    t.response_audio_duration_ms,
    t.asr_latency_ms,
    t.rag_latency_ms,
    t.llm_latency_ms,
    t.tts_latency_ms,
    t.total_latency_ms,
    t.asr_cost,
    t.llm_cost,
    t.tts_cost,
    t.total_cost,
    t.created_at
    , (SELECT bounds.total_turns FROM bounds)::bigint AS total  -- when: with_total
FROM clonedb.conversation_turns AS t
WHERE t.user_id = :user_id::uuid
    AND t.session_id = :session_id::uuid
    AND t.id >= (SELECT bounds.first_id FROM bounds)  -- unless: window
    AND t.id < (SELECT bounds.end_id FROM bounds)  -- unless: window
    AND EXISTS (SELECT FROM bounds)  -- when: window
    AND t.id >= :first_id::uuid  -- when: window
    AND t.id < :end_id::uuid  -- when: window
    AND t.turn_number >= :turn_from::integer  -- filter: turn_from
    AND t.turn_number <= :turn_to::integer  -- filter: turn_to
    AND (t.turn_number, t.id) > (:after_turn_number::integer, :after_id::uuid)  -- after: oldest
    AND (t.turn_number, t.id) < (:after_turn_number::integer, :after_id::uuid)  -- after: newest
ORDER BY t.turn_number ASC, t.id ASC  -- order: oldest
ORDER BY t.turn_number DESC, t.id DESC  -- order: newest
LIMIT :limit::bigint;

-- name: record(user_id, session_id, id, user_transcript, transcript_confidence, user_audio_duration_ms, retrieved_chunks, llm_response, response_audio_duration_ms, asr_latency_ms, rag_latency_ms, llm_latency_ms, tts_latency_ms, total_latency_ms, asr_cost, llm_cost, tts_cost, state)^
-- Stores a turn, adds it to its session's totals and, where asked, moves the session's state.
-- Totals are computed from the locked row: without the lock 175 were counted for 40 turns. A turn
-- that is stored already comes back as it is; a number that does not follow the locked total is
-- such a turn, and is not counted again.
-- plan_cache_mode: force_generic_plan
-- plan: index conversation_sessions_pkey
-- rows <= 15
WITH locked AS (
    SELECT
        s.id,
        s.started_at,
        s.turn_window_start,
        s.turn_window_end,
        s.state,
        s.ended_at,
        s.total_turns,
        s.total_latency_ms,
        s.total_cost
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :session_id::uuid
        AND s.deleted_at IS NULL
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.ended_at IS NOT NULL THEN 'ended'
            WHEN
                coalesce(:id::uuid, clonedb.uuid_v7_floor(statement_timestamp()))
                NOT BETWEEN locked.turn_window_start
                AND locked.turn_window_end
                THEN 'outside_window'
            WHEN :state::text IS NULL OR :state::text = locked.state THEN 'recorded'
            WHEN EXISTS (
                SELECT
                FROM clonedb.session_transitions AS allowed
                WHERE allowed.from_state = locked.state
                    AND allowed.to_state = :state::text
            ) THEN 'recorded'
            ELSE 'not_allowed'
        END AS outcome,
        locked.state
    FROM locked
),
inserted AS (
    INSERT INTO clonedb.conversation_turns AS t (
        user_id,
        session_id,
        id,
        session_started_at,
        turn_number,
        user_transcript,
        transcript_confidence,
        user_audio_duration_ms,
        retrieved_chunks,
        llm_response,
        response_audio_duration_ms,
        asr_latency_ms,
        rag_latency_ms,
        llm_latency_ms,
        tts_latency_ms,
        total_latency_ms,
        asr_cost,
        llm_cost,
        tts_cost
    )
    SELECT
        :user_id::uuid,
        locked.id,
        coalesce(:id::uuid, clonedb.uuid_v7()),
        locked.started_at,
        locked.total_turns + 1,
        :user_transcript::text,
        :transcript_confidence::double precision,
        :user_audio_duration_ms::integer,
        :retrieved_chunks::text[],
        :llm_response::text,
        :response_audio_duration_ms::integer,
        :asr_latency_ms::integer,
        :rag_latency_ms::integer,
        :llm_latency_ms::integer,
        :tts_latency_ms::integer,
        coalesce(
            :total_latency_ms::integer,
            coalesce(:asr_latency_ms::integer, 0)
            + coalesce(:rag_latency_ms::integer, 0)
            + coalesce(:llm_latency_ms::integer, 0)
            + coalesce(:tts_latency_ms::integer, 0)
        ),
        :asr_cost::numeric,
        :llm_cost::numeric,
        :tts_cost::numeric
    FROM locked, verdict
    WHERE verdict.outcome = 'recorded'
    ON CONFLICT (user_id, session_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        t.session_id,
        t.id,
        t.turn_number,
        t.user_transcript,
        t.transcript_confidence,
        t.user_audio_duration_ms,
        t.retrieved_chunks,
        t.llm_response,
        t.response_audio_duration_ms,
        t.asr_latency_ms,
        t.rag_latency_ms,
        t.llm_latency_ms,
        t.tts_latency_ms,
        t.total_latency_ms,
        t.asr_cost,
        t.llm_cost,
        t.tts_cost,
        t.total_cost,
        t.created_at
),
totals AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        total_turns = locked.total_turns + 1,
        total_latency_ms = locked.total_latency_ms + inserted.total_latency_ms,
        total_cost = locked.total_cost + inserted.total_cost,
        state = coalesce(:state::text, locked.state),
        updated_at = statement_timestamp()
    FROM locked, inserted
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
        AND inserted.turn_number = locked.total_turns + 1
    RETURNING s.id
)
SELECT
    coalesce(verdict.outcome, 'no_session') AS outcome,
    verdict.state AS from_state,
    inserted.session_id,
    inserted.id,
    inserted.turn_number,
    inserted.user_transcript,
    inserted.transcript_confidence,
    inserted.user_audio_duration_ms,
    inserted.retrieved_chunks,
    inserted.llm_response,
    inserted.response_audio_duration_ms,
    inserted.asr_latency_ms,
    inserted.rag_latency_ms,
    inserted.llm_latency_ms,
    inserted.tts_latency_ms,
    inserted.total_latency_ms,
    inserted.asr_cost,
    inserted.llm_cost,
    inserted.tts_cost,
    inserted.total_cost,
    inserted.created_at
FROM (VALUES (1)) AS always
LEFT JOIN verdict ON true
LEFT JOIN inserted ON true;

-- name: record_many(user_id, rows)
-- Stores many turns, of one or several living sessions, from one array of JSON objects, in the
-- order given, and adds them to their sessions' totals.
-- All or none: where a session is missing or has ended, and the turn was not stored before,
-- nothing is written and the turns that were refused come back with their reason. One reason is
-- `overtaken`: while this statement waited for the session others have recorded turns, which its
-- snapshot does not show, and a turn that brings its id may be among them.
-- lane: pool
-- plan_cache_mode: force_generic_plan
WITH given AS (
    SELECT
        turn.session_id,
        turn.id,
        turn.user_transcript,
        turn.transcript_confidence,
        turn.user_audio_duration_ms,
        turn.retrieved_chunks,
        turn.llm_response,
        turn.response_audio_duration_ms,
        turn.asr_latency_ms,
        turn.rag_latency_ms,
        turn.llm_latency_ms,
        turn.tts_latency_ms,
        turn.total_latency_ms,
        turn.asr_cost,
        turn.llm_cost,
        turn.tts_cost,
        turn.position
    FROM ROWS FROM (  -- noqa: PRS, CP02
        json_to_recordset(:rows::json) AS (
            session_id uuid,
            id uuid,
            user_transcript text,
            transcript_confidence double precision,
            user_audio_duration_ms integer,
            retrieved_chunks text[],
            llm_response text,
            response_audio_duration_ms integer,
            asr_latency_ms integer,
            rag_latency_ms integer,
            llm_latency_ms integer,
            tts_latency_ms integer,
            total_latency_ms integer,
            asr_cost numeric,
            llm_cost numeric,
            tts_cost numeric
        )
    ) WITH ORDINALITY AS turn (
        session_id,
        id,
        user_transcript,
        transcript_confidence,
        user_audio_duration_ms,
        retrieved_chunks,
        llm_response,
        response_audio_duration_ms,
        asr_latency_ms,
        rag_latency_ms,
        llm_latency_ms,
        tts_latency_ms,
        total_latency_ms,
        asr_cost,
        llm_cost,
        tts_cost,
        position
    )
),
locked AS (
    SELECT
        s.id,
        s.started_at,
        s.turn_window_start,
        s.turn_window_end,
        s.ended_at,
        s.total_turns,
        s.total_latency_ms,
        s.total_cost
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = ANY(ARRAY(SELECT given.session_id FROM given))
        AND s.deleted_at IS NULL
    ORDER BY s.id
    FOR NO KEY UPDATE
),
stored AS (
    SELECT
        t.session_id,
        t.id,
        t.turn_number,
        t.user_transcript,
        t.transcript_confidence,
        t.user_audio_duration_ms,
        t.retrieved_chunks,
        t.llm_response,
        t.response_audio_duration_ms,
        t.asr_latency_ms,
        t.rag_latency_ms,
        t.llm_latency_ms,
        t.tts_latency_ms,
        t.total_latency_ms,
        t.asr_cost,
        t.llm_cost,
        t.tts_cost,
        t.total_cost,
        t.created_at
    FROM given
    INNER JOIN locked ON locked.id = given.session_id
    INNER JOIN clonedb.conversation_turns AS t
        ON t.user_id = :user_id::uuid
        AND t.session_id = locked.id
        AND t.id = given.id
        AND t.id >= locked.turn_window_start
        AND t.id < locked.turn_window_end
),
overtaken AS (
    SELECT locked.id
    FROM locked
    -- Read without a lock, this is the session as it was when the statement began.
    INNER JOIN clonedb.conversation_sessions AS seen
        ON seen.user_id = :user_id::uuid
        AND seen.id = locked.id
    WHERE seen.total_turns <> locked.total_turns
),
refused AS (
    SELECT
        given.session_id,
        given.id,
        CASE
            WHEN locked.id IS NULL THEN 'no_session'
            WHEN overtaken.id IS NOT NULL AND given.id IS NOT NULL THEN 'overtaken'
            WHEN locked.ended_at IS NOT NULL THEN 'ended'
            ELSE 'outside_window'
        END AS outcome
    FROM given
    LEFT JOIN locked ON locked.id = given.session_id
    LEFT JOIN overtaken ON overtaken.id = given.session_id
    WHERE (
            locked.id IS NULL
            OR locked.ended_at IS NOT NULL
            OR (overtaken.id IS NOT NULL AND given.id IS NOT NULL)
            OR coalesce(given.id, clonedb.uuid_v7_floor(statement_timestamp()))
            NOT BETWEEN locked.turn_window_start
            AND locked.turn_window_end
        )
        AND NOT EXISTS (
            SELECT
            FROM stored
            WHERE stored.session_id = given.session_id
                AND stored.id = given.id
        )
),
fresh AS (
    SELECT
        locked.id AS session_id,
        coalesce(given.id, clonedb.uuid_v7()) AS id,
        locked.started_at,
        (
            locked.total_turns
            + row_number() OVER (PARTITION BY locked.id ORDER BY given.position)
        )::integer AS turn_number,
        given.user_transcript,
        given.transcript_confidence,
        given.user_audio_duration_ms,
        given.retrieved_chunks,
        given.llm_response,
        given.response_audio_duration_ms,
        given.asr_latency_ms,
        given.rag_latency_ms,
        given.llm_latency_ms,
        given.tts_latency_ms,
        coalesce(
            given.total_latency_ms,
            coalesce(given.asr_latency_ms, 0)
            + coalesce(given.rag_latency_ms, 0)
            + coalesce(given.llm_latency_ms, 0)
            + coalesce(given.tts_latency_ms, 0)
        ) AS total_latency_ms,
        given.asr_cost,
        given.llm_cost,
        given.tts_cost
    FROM given
    INNER JOIN locked ON locked.id = given.session_id
    WHERE NOT EXISTS (SELECT FROM refused)
        AND NOT EXISTS (
            SELECT
            FROM stored
            WHERE stored.session_id = given.session_id
                AND stored.id = given.id
        )
),
inserted AS (
    INSERT INTO clonedb.conversation_turns AS t (
        user_id,
        session_id,
        id,
        session_started_at,
        turn_number,
        user_transcript,
        transcript_confidence,
        user_audio_duration_ms,
        retrieved_chunks,
        llm_response,
        response_audio_duration_ms,
        asr_latency_ms,
        rag_latency_ms,
        llm_latency_ms,
        tts_latency_ms,
        total_latency_ms,
        asr_cost,
        llm_cost,
        tts_cost
    )
    SELECT
        :user_id::uuid,
        fresh.session_id,
        fresh.id,
        fresh.started_at,
        fresh.turn_number,
        fresh.user_transcript,
        fresh.transcript_confidence,
        fresh.user_audio_duration_ms,
        fresh.retrieved_chunks,
        fresh.llm_response,
        fresh.response_audio_duration_ms,
        fresh.asr_latency_ms,
        fresh.rag_latency_ms,
        fresh.llm_latency_ms,
        fresh.tts_latency_ms,
        fresh.total_latency_ms,
        fresh.asr_cost,
        fresh.llm_cost,
        fresh.tts_cost
    FROM fresh
    ON CONFLICT (user_id, session_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        t.session_id,
        t.id,
        t.turn_number,
        t.user_transcript,
        t.transcript_confidence,
        t.user_audio_duration_ms,
        t.retrieved_chunks,
        t.llm_response,
        t.response_audio_duration_ms,
        t.asr_latency_ms,
        t.rag_latency_ms,
        t.llm_latency_ms,
        t.tts_latency_ms,
        t.total_latency_ms,
        t.asr_cost,
        t.llm_cost,
        t.tts_cost,
        t.total_cost,
        t.created_at
),
sums AS (
    SELECT
        inserted.session_id,
        count(*)::integer AS turns,
        sum(inserted.total_latency_ms) AS latency_ms,
        sum(inserted.total_cost) AS cost
    FROM inserted
    INNER JOIN locked ON locked.id = inserted.session_id
    WHERE inserted.turn_number > locked.total_turns
    GROUP BY inserted.session_id
),
totals AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        total_turns = locked.total_turns + sums.turns,
        total_latency_ms = locked.total_latency_ms + sums.latency_ms,
        total_cost = locked.total_cost + sums.cost,
        updated_at = statement_timestamp()
    FROM locked
    INNER JOIN sums ON sums.session_id = locked.id
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
    RETURNING s.id
)
SELECT
    'recorded' AS outcome,
    inserted.session_id,
    inserted.id,
    inserted.turn_number,
    inserted.user_transcript,
    inserted.transcript_confidence,
    inserted.user_audio_duration_ms,
    inserted.retrieved_chunks,
    inserted.llm_response,
    inserted.response_audio_duration_ms,
    inserted.asr_latency_ms,
    inserted.rag_latency_ms,
    inserted.llm_latency_ms,
    inserted.tts_latency_ms,
    inserted.total_latency_ms,
    inserted.asr_cost,
    inserted.llm_cost,
    inserted.tts_cost,
    inserted.total_cost,
    inserted.created_at
FROM inserted
UNION ALL
SELECT
    'repeated' AS outcome,
    stored.session_id,
    stored.id,
    stored.turn_number,
    stored.user_transcript,
    stored.transcript_confidence,
    stored.user_audio_duration_ms,
    stored.retrieved_chunks,
    stored.llm_response,
    stored.response_audio_duration_ms,
    stored.asr_latency_ms,
    stored.rag_latency_ms,
    stored.llm_latency_ms,
    stored.tts_latency_ms,
    stored.total_latency_ms,
    stored.asr_cost,
    stored.llm_cost,
    stored.tts_cost,
    stored.total_cost,
    stored.created_at
FROM stored
UNION ALL
SELECT
    refused.outcome,
    refused.session_id,
    refused.id,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL,
    NULL
FROM refused;

-- name: stream(user_id)
-- Every turn of a user's living sessions, session by session, in order.
-- lane: pool
-- plan_cache_mode: force_generic_plan
SELECT
    t.session_id,
    t.id,
    t.turn_number,
    t.user_transcript,
    t.transcript_confidence,
    t.user_audio_duration_ms,
    t.retrieved_chunks,
    t.llm_response,
    t.response_audio_duration_ms,
    t.asr_latency_ms,
    t.rag_latency_ms,
    t.llm_latency_ms,
    t.tts_latency_ms,
    t.total_latency_ms,
    t.asr_cost,
    t.llm_cost,
    t.tts_cost,
    t.total_cost,
    t.created_at
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.conversation_turns AS t
    ON t.user_id = s.user_id
    AND t.session_id = s.id
    AND t.id >= s.turn_window_start
    AND t.id < s.turn_window_end
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL
ORDER BY
    t.session_id ASC,
    t.turn_number ASC;
