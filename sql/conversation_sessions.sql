-- Conversation sessions: what a user and their clone talk in.
--
-- A statement that may refuse locks the session's row first, so that what it decides on cannot
-- change before it writes, and returns one row whose `outcome` is the reason.

-- name: count(user_id, state, llm_provider, started_from, started_before)$
-- How many of a user's sessions match.
SELECT count(*)
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL  -- unless: include_deleted
    AND s.ended_at IS NULL  -- when: active
    AND s.ended_at IS NOT NULL  -- when: not_active
    AND s.state = :state::text  -- filter: state
    AND s.llm_provider = :llm_provider::text  -- filter: llm_provider
    AND s.started_at >= :started_from::timestamptz  -- filter: started_from
    AND s.started_at < :started_before::timestamptz;  -- filter: started_before

-- name: create(user_id, id, started_at, llm_provider, tts_provider, voice_model_id, face_model_id)^
-- Stores a session, or returns the one already stored under the same id.
WITH stored AS (
    INSERT INTO clonedb.conversation_sessions AS s (
        user_id,
        id,
        started_at,
        llm_provider,
        tts_provider,
        voice_model_id,
        face_model_id
    )
    VALUES (
        :user_id::uuid,
        coalesce(:id::uuid, clonedb.uuid_v7()),
        coalesce(:started_at::timestamptz, statement_timestamp()),
        :llm_provider::text,
        :tts_provider::text,
        :voice_model_id::uuid,
        :face_model_id::uuid
    )
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at,
        (s.xmax = 0) AS created
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.start',
        'conversation_sessions/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.started_at,
    stored.ended_at,
    stored.state,
    stored.llm_provider,
    stored.tts_provider,
    stored.voice_model_id,
    stored.face_model_id,
    stored.total_turns,
    stored.total_latency_ms,
    stored.average_latency_ms,
    stored.total_cost,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: create_many(user_id, rows)
-- Stores many sessions from one array of JSON objects; those already stored come back as they are.
WITH stored AS (
    INSERT INTO clonedb.conversation_sessions AS s (
        user_id,
        id,
        started_at,
        llm_provider,
        tts_provider,
        voice_model_id,
        face_model_id
    )
    SELECT
        :user_id::uuid,
        coalesce(given.id, clonedb.uuid_v7()),
        coalesce(given.started_at, statement_timestamp()),
        given.llm_provider,
        given.tts_provider,
        given.voice_model_id,
        given.face_model_id
    FROM json_to_recordset(:rows::json) AS given (
        id uuid,
        started_at timestamptz,
        llm_provider text,
        tts_provider text,
        voice_model_id uuid,
        face_model_id uuid
    )
    ORDER BY given.id
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at,
        (s.xmax = 0) AS created
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.start',
        'conversation_sessions/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.started_at,
    stored.ended_at,
    stored.state,
    stored.llm_provider,
    stored.tts_provider,
    stored.voice_model_id,
    stored.face_model_id,
    stored.total_turns,
    stored.total_latency_ms,
    stored.average_latency_ms,
    stored.total_cost,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: delete(user_id, id)$
-- Hides a living session, and with it its turns.
WITH changed AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        deleted_at = statement_timestamp(),
        updated_at = statement_timestamp()
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND s.deleted_at IS NULL
    RETURNING
        s.deleted_at,
        s.id
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.delete',
        'conversation_sessions/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.deleted_at
FROM changed;

-- name: end(user_id, id, ended_at)^
-- Ends a living session once: idle, with its end; a second call changes nothing.
WITH locked AS (
    SELECT
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND s.deleted_at IS NULL
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.ended_at IS NOT NULL THEN 'already_ended'
            WHEN :ended_at::timestamptz < locked.started_at THEN 'before_start'
            ELSE 'ended'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        state = 'idle',
        -- The clock may stand before a start that the caller brought.
        ended_at = coalesce(
            :ended_at::timestamptz,
            greatest(statement_timestamp(), locked.started_at)
        ),
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
        AND verdict.outcome = 'ended'
    RETURNING
        s.id,
        s.ended_at,
        s.state,
        s.updated_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.end',
        'conversation_sessions/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT
    coalesce(verdict.outcome, 'no_session') AS outcome,
    locked.id,
    locked.started_at,
    coalesce(changed.ended_at, locked.ended_at) AS ended_at,
    coalesce(changed.state, locked.state) AS state,
    locked.llm_provider,
    locked.tts_provider,
    locked.voice_model_id,
    locked.face_model_id,
    locked.total_turns,
    locked.total_latency_ms,
    locked.average_latency_ms,
    locked.total_cost,
    locked.created_at,
    coalesce(changed.updated_at, locked.updated_at) AS updated_at,
    locked.deleted_at
FROM (VALUES (1)) AS always
LEFT JOIN locked ON true
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: end_many(user_id, rows)
-- Ends many living sessions from one array of JSON objects with id and ended_at; ended ones stay.
WITH given AS (
    SELECT
        ending.id,
        ending.ended_at
    FROM json_to_recordset(:rows::json) AS ending (
        id uuid,
        ended_at timestamptz
    )
),
locked AS (
    SELECT
        s.id,
        s.started_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = ANY(ARRAY(SELECT given.id FROM given))
        AND s.ended_at IS NULL
        AND s.deleted_at IS NULL
    ORDER BY s.id
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        state = 'idle',
        ended_at = coalesce(given.ended_at, greatest(statement_timestamp(), locked.started_at)),
        updated_at = statement_timestamp()
    FROM given
    INNER JOIN locked ON locked.id = given.id
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
    RETURNING s.id
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.end',
        'conversation_sessions/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.id
FROM changed;

-- name: exists(user_id, state, llm_provider, started_from, started_before)$
-- Whether any of a user's sessions matches.
SELECT EXISTS (
    SELECT
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.deleted_at IS NULL  -- unless: include_deleted
        AND s.ended_at IS NULL  -- when: active
        AND s.ended_at IS NOT NULL  -- when: not_active
        AND s.state = :state::text  -- filter: state
        AND s.llm_provider = :llm_provider::text  -- filter: llm_provider
        AND s.started_at >= :started_from::timestamptz  -- filter: started_from
        AND s.started_at < :started_before::timestamptz  -- filter: started_before
);

-- name: find_by_id(user_id, id)^
-- One session.
-- plan: index conversation_sessions_pkey
-- rows <= 1
SELECT
    s.id,
    s.started_at,
    s.ended_at,
    s.state,
    s.llm_provider,
    s.tts_provider,
    s.voice_model_id,
    s.face_model_id,
    s.total_turns,
    s.total_latency_ms,
    s.average_latency_ms,
    s.total_cost,
    s.created_at,
    s.updated_at,
    s.deleted_at
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.id = :id::uuid
    AND s.deleted_at IS NULL;  -- unless: include_deleted

-- name: find_many(user_id, state, llm_provider, started_from, started_before, after_started_at, after_id, limit)
-- One page of a user's sessions.
-- rows <= 500
SELECT
    s.id,
    s.started_at,
    s.ended_at,
    s.state,
    s.llm_provider,
    s.tts_provider,
    s.voice_model_id,
    s.face_model_id,
    s.total_turns,
    s.total_latency_ms,
    s.average_latency_ms,
    s.total_cost,
    s.created_at,
    s.updated_at,
    s.deleted_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.conversation_sessions AS s  -- when: with_total
        WHERE s.user_id = :user_id::uuid  -- when: with_total
            AND s.deleted_at IS NULL  -- when: with_total; unless: include_deleted
            AND s.ended_at IS NULL  -- when: with_total; when: active
            AND s.ended_at IS NOT NULL  -- when: with_total; when: not_active
            AND s.state = :state::text  -- when: with_total; filter: state
            AND s.llm_provider = :llm_provider::text  -- when: with_total; filter: llm_provider
            AND s.started_at >= :started_from::timestamptz  -- when: with_total; filter: started_from
            AND s.started_at < :started_before::timestamptz  -- when: with_total; filter: started_before
    ) AS total  -- when: with_total
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL  -- unless: include_deleted
    AND s.ended_at IS NULL  -- when: active
    AND s.ended_at IS NOT NULL  -- when: not_active
    AND s.state = :state::text  -- filter: state
    AND s.llm_provider = :llm_provider::text  -- filter: llm_provider
    AND s.started_at >= :started_from::timestamptz  -- filter: started_from
    AND s.started_at < :started_before::timestamptz  -- filter: started_before
    AND (s.started_at, s.id) < (:after_started_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (s.started_at, s.id) > (:after_started_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY s.started_at DESC, s.id DESC  -- order: newest
ORDER BY s.started_at ASC, s.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: find_with_turns(user_id, id, first_id, end_id, limit)
-- A session in a row of its own, then its newest turns, oldest of them first.
-- Each half is NULL in the rows of the other: a session repeated beside 50 turns took a third of
-- the time of reading them. `window` is as in conversation_turns.sql.
-- plan_cache_mode: force_generic_plan
WITH session AS (
    SELECT
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at,
        s.turn_window_start AS first_id,
        s.turn_window_end AS end_id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND s.deleted_at IS NULL
),
newest AS (
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
    FROM clonedb.conversation_turns AS t
    WHERE t.user_id = :user_id::uuid
        AND t.session_id = :id::uuid
        AND t.id >= (SELECT session.first_id FROM session)  -- unless: window
        AND t.id < (SELECT session.end_id FROM session)  -- unless: window
        AND EXISTS (SELECT FROM session)  -- when: window
        AND t.id >= :first_id::uuid  -- when: window
        AND t.id < :end_id::uuid  -- when: window
    ORDER BY t.turn_number DESC, t.id DESC
    LIMIT :limit::bigint
)
SELECT
    session.id,
    session.started_at,
    session.ended_at,
    session.state,
    session.llm_provider,
    session.tts_provider,
    session.voice_model_id,
    session.face_model_id,
    session.total_turns,
    session.total_latency_ms,
    session.average_latency_ms,
    session.total_cost,
    session.created_at,
    session.updated_at,
    session.deleted_at,
    NULL::uuid AS turn_session_id,
    NULL::uuid AS turn_id,
    NULL::integer AS turn_number,
    NULL::text AS turn_user_transcript,
    NULL::double precision AS turn_transcript_confidence,
    NULL::integer AS turn_user_audio_duration_ms,
    NULL::text[] AS turn_retrieved_chunks,
    NULL::text AS turn_llm_response,
    NULL::integer AS turn_response_audio_duration_ms,
    NULL::integer AS turn_asr_latency_ms,
    NULL::integer AS turn_rag_latency_ms,
    NULL::integer AS turn_llm_latency_ms,
    NULL::integer AS turn_tts_latency_ms,
    NULL::integer AS turn_total_latency_ms,
    NULL::numeric AS turn_asr_cost,
    NULL::numeric AS turn_llm_cost,
    NULL::numeric AS turn_tts_cost,
    NULL::numeric AS turn_total_cost,
    NULL::timestamptz AS turn_created_at
FROM session
UNION ALL
SELECT
    NULL::uuid,
    NULL::timestamptz,
    NULL::timestamptz,
    NULL::text,
    NULL::text,
    NULL::text,
    NULL::uuid,
    NULL::uuid,
    NULL::integer,
    NULL::bigint,
    NULL::double precision,
    NULL::numeric,
    NULL::timestamptz,
    NULL::timestamptz,
    NULL::timestamptz,
    newest.session_id,
    newest.id,
    newest.turn_number,
    newest.user_transcript,
    newest.transcript_confidence,
    newest.user_audio_duration_ms,
    newest.retrieved_chunks,
    newest.llm_response,
    newest.response_audio_duration_ms,
    newest.asr_latency_ms,
    newest.rag_latency_ms,
    newest.llm_latency_ms,
    newest.tts_latency_ms,
    newest.total_latency_ms,
    newest.asr_cost,
    newest.llm_cost,
    newest.tts_cost,
    newest.total_cost,
    newest.created_at
FROM newest
ORDER BY turn_number ASC NULLS FIRST;

-- name: hard_delete(user_id, id, deleted_before, started_before)$
-- Removes a session, living or deleted, and its turns.
WITH changed AS (
    DELETE FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND s.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        AND s.started_at < :started_before::timestamptz  -- filter: started_before
    RETURNING s.id
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.erase',
        'conversation_sessions/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.id
FROM changed;

-- name: restore(user_id, id)^
-- Brings a deleted session back; one that is not deleted stays as it is.
WITH locked AS (
    SELECT
        s.id,
        s.deleted_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        deleted_at = NULL,
        updated_at = CASE WHEN s.deleted_at IS NULL THEN s.updated_at ELSE statement_timestamp() END
    FROM locked
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
    RETURNING
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'session.restore',
        'conversation_sessions/' || changed.id,
        'success'
    FROM changed
    INNER JOIN locked ON locked.id = changed.id
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE locked.deleted_at IS NOT NULL
)
SELECT
    changed.id,
    changed.started_at,
    changed.ended_at,
    changed.state,
    changed.llm_provider,
    changed.tts_provider,
    changed.voice_model_id,
    changed.face_model_id,
    changed.total_turns,
    changed.total_latency_ms,
    changed.average_latency_ms,
    changed.total_cost,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: statistics(user_id, started_from, started_before)^
-- What a user's sessions add up to.
-- Averages are weighted by turns: sums divided by sums, never averages of averages.
SELECT
    count(*) AS sessions,
    count(*) FILTER (WHERE s.ended_at IS NULL) AS active_sessions,
    coalesce(sum(s.total_turns), 0)::bigint AS turns,
    coalesce(sum(s.total_latency_ms), 0)::bigint AS total_latency_ms,
    (sum(s.total_latency_ms)::double precision / nullif(sum(s.total_turns), 0))
        AS average_latency_ms,
    coalesce(sum(s.total_cost), 0) AS total_cost,
    coalesce(sum(extract(EPOCH FROM s.ended_at - s.started_at)), 0)::double precision
        AS conversation_seconds
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL
    AND s.started_at >= :started_from::timestamptz  -- filter: started_from
    AND s.started_at < :started_before::timestamptz;  -- filter: started_before

-- name: statistics_by_provider(user_id, started_from, started_before)
-- What a user's sessions add up to for each pair of providers, most turns first.
SELECT
    s.llm_provider,
    s.tts_provider,
    count(*) AS sessions,
    coalesce(sum(s.total_turns), 0)::bigint AS turns,
    (sum(s.total_latency_ms)::double precision / nullif(sum(s.total_turns), 0))
        AS average_latency_ms,
    coalesce(sum(s.total_cost), 0) AS total_cost
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid
    AND s.deleted_at IS NULL
    AND s.started_at >= :started_from::timestamptz  -- filter: started_from
    AND s.started_at < :started_before::timestamptz  -- filter: started_before
GROUP BY
    s.llm_provider,
    s.tts_provider
ORDER BY
    turns DESC,
    s.llm_provider ASC,
    s.tts_provider ASC;

-- name: transition(user_id, id, to_state)^
-- Moves a living session to another state where the table of transitions allows it.
-- plan: index conversation_sessions_pkey
-- rows <= 15
WITH locked AS (
    SELECT
        s.id,
        s.started_at,
        s.ended_at,
        s.state,
        s.llm_provider,
        s.tts_provider,
        s.voice_model_id,
        s.face_model_id,
        s.total_turns,
        s.total_latency_ms,
        s.average_latency_ms,
        s.total_cost,
        s.created_at,
        s.updated_at,
        s.deleted_at
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND s.deleted_at IS NULL
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.ended_at IS NOT NULL THEN 'ended'
            WHEN locked.state = :to_state::text THEN 'unchanged'
            WHEN EXISTS (
                SELECT
                FROM clonedb.session_transitions AS allowed
                WHERE allowed.from_state = locked.state
                    AND allowed.to_state = :to_state::text
            ) THEN 'moved'
            ELSE 'not_allowed'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        state = :to_state::text,
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE s.user_id = :user_id::uuid
        AND s.id = locked.id
        AND verdict.outcome = 'moved'
    RETURNING
        s.state,
        s.updated_at
)
SELECT
    coalesce(verdict.outcome, 'no_session') AS outcome,
    locked.id,
    locked.started_at,
    locked.ended_at,
    coalesce(changed.state, locked.state) AS state,
    locked.llm_provider,
    locked.tts_provider,
    locked.voice_model_id,
    locked.face_model_id,
    locked.total_turns,
    locked.total_latency_ms,
    locked.average_latency_ms,
    locked.total_cost,
    locked.created_at,
    coalesce(changed.updated_at, locked.updated_at) AS updated_at,
    locked.deleted_at
FROM (VALUES (1)) AS always
LEFT JOIN locked ON true
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: update(user_id, id, fields, llm_provider, tts_provider, voice_model_id, face_model_id)^
-- Changes the named fields of a living session.
UPDATE clonedb.conversation_sessions AS s
SET
    llm_provider = CASE
        WHEN 'llm_provider' = ANY(:fields::text[]) THEN :llm_provider::text
        ELSE s.llm_provider
    END,
    tts_provider = CASE
        WHEN 'tts_provider' = ANY(:fields::text[]) THEN :tts_provider::text
        ELSE s.tts_provider
    END,
    voice_model_id = CASE
        WHEN 'voice_model_id' = ANY(:fields::text[]) THEN :voice_model_id::uuid
        ELSE s.voice_model_id
    END,
    face_model_id = CASE
        WHEN 'face_model_id' = ANY(:fields::text[]) THEN :face_model_id::uuid
        ELSE s.face_model_id
    END,
    updated_at = statement_timestamp()
WHERE s.user_id = :user_id::uuid
    AND s.id = :id::uuid
    AND s.deleted_at IS NULL
RETURNING
    s.id,
    s.started_at,
    s.ended_at,
    s.state,
    s.llm_provider,
    s.tts_provider,
    s.voice_model_id,
    s.face_model_id,
    s.total_turns,
    s.total_latency_ms,
    s.average_latency_ms,
    s.total_cost,
    s.created_at,
    s.updated_at,
    s.deleted_at;

-- name: update_many(user_id, ids, fields, llm_provider, tts_provider, voice_model_id, face_model_id)
-- Changes the named fields of several living sessions to the same values.
WITH chosen AS (
    SELECT s.id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = ANY(:ids::uuid[])
        AND s.deleted_at IS NULL
    ORDER BY s.id
    FOR NO KEY UPDATE
)
UPDATE clonedb.conversation_sessions AS s
SET
    llm_provider = CASE
        WHEN 'llm_provider' = ANY(:fields::text[]) THEN :llm_provider::text
        ELSE s.llm_provider
    END,
    tts_provider = CASE
        WHEN 'tts_provider' = ANY(:fields::text[]) THEN :tts_provider::text
        ELSE s.tts_provider
    END,
    voice_model_id = CASE
        WHEN 'voice_model_id' = ANY(:fields::text[]) THEN :voice_model_id::uuid
        ELSE s.voice_model_id
    END,
    face_model_id = CASE
        WHEN 'face_model_id' = ANY(:fields::text[]) THEN :face_model_id::uuid
        ELSE s.face_model_id
    END,
    updated_at = statement_timestamp()
FROM chosen
WHERE s.user_id = :user_id::uuid
    AND s.id = chosen.id
RETURNING
    s.id,
    s.started_at,
    s.ended_at,
    s.state,
    s.llm_provider,
    s.tts_provider,
    s.voice_model_id,
    s.face_model_id,
    s.total_turns,
    s.total_latency_ms,
    s.average_latency_ms,
    s.total_cost,
    s.created_at,
    s.updated_at,
    s.deleted_at;
