-- Creates the conversation sessions.
-- depends: 0009_create_session_transitions
-- why: a session is one conversation between a person and the clone; its totals are kept on it.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users, voice_models and face_models
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.conversation_sessions (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    started_at timestamptz NOT NULL DEFAULT now(),
    ended_at timestamptz,
    state text NOT NULL DEFAULT 'idle',
    llm_provider text NOT NULL,
    tts_provider text NOT NULL,
    voice_model_id uuid,
    face_model_id uuid,
    total_turns integer NOT NULL DEFAULT 0,
    total_latency_ms bigint NOT NULL DEFAULT 0,
    average_latency_ms double precision
    GENERATED ALWAYS AS (total_latency_ms::double precision / nullif(total_turns, 0)) STORED,
    total_cost numeric(14, 6) NOT NULL DEFAULT 0,
    turn_window_start uuid NOT NULL
    GENERATED ALWAYS AS (clonedb.session_window_start(started_at)) STORED,
    turn_window_end uuid NOT NULL
    GENERATED ALWAYS AS (clonedb.session_window_end(started_at)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT conversation_sessions_pkey PRIMARY KEY (user_id, id),
    -- For the key of the turns: their copy of started_at is the session's, or they are refused. In
    -- this order its index also serves pages that include the deleted.
    CONSTRAINT conversation_sessions_start_is_one UNIQUE (user_id, started_at, id),
    CONSTRAINT conversation_sessions_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT conversation_sessions_voice_model_exists FOREIGN KEY (user_id, voice_model_id)
    REFERENCES clonedb.voice_models (user_id, id) ON DELETE RESTRICT,
    CONSTRAINT conversation_sessions_face_model_exists FOREIGN KEY (user_id, face_model_id)
    REFERENCES clonedb.face_models (user_id, id) ON DELETE RESTRICT,
    CONSTRAINT conversation_sessions_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    -- The ids of the turns can express these years. Infinity has none of them.
    CONSTRAINT conversation_sessions_started_at_is_plausible CHECK (
        extract(YEAR FROM started_at AT TIME ZONE 'UTC') BETWEEN 1971 AND 9998
    ),
    CONSTRAINT conversation_sessions_ended_at_is_after_start CHECK (
        ended_at >= started_at AND ended_at < 'infinity'
    ),
    CONSTRAINT conversation_sessions_state_is_known CHECK (
        state IN ('idle', 'listening', 'processing', 'speaking', 'interrupted', 'error')
    ),
    CONSTRAINT conversation_sessions_ended_is_idle CHECK (ended_at IS NULL OR state = 'idle'),
    CONSTRAINT conversation_sessions_llm_provider_is_known CHECK (
        llm_provider IN (
            'gpt-4-turbo', 'gpt-3.5-turbo', 'claude-3-opus', 'claude-3-sonnet', 'llama-3-70b'
        )
    ),
    CONSTRAINT conversation_sessions_tts_provider_is_known CHECK (
        tts_provider IN ('xtts-v2', 'google-cloud-tts', 'openai-tts')
    ),
    CONSTRAINT conversation_sessions_total_turns_is_not_negative CHECK (total_turns >= 0),
    CONSTRAINT conversation_sessions_total_latency_ms_is_not_negative CHECK (
        total_latency_ms >= 0
    ),
    CONSTRAINT conversation_sessions_total_cost_is_not_negative CHECK (
        total_cost >= 0 AND total_cost <> 'NaN'
    )
-- Room in each page for the new versions that every turn makes of its session.
) WITH (fillfactor = 80);

COMMENT ON TABLE clonedb.conversation_sessions IS
'Conversations between a person and the clone, with the totals of their turns.';
COMMENT ON COLUMN clonedb.conversation_sessions.user_id IS 'The user who talks.';
COMMENT ON COLUMN clonedb.conversation_sessions.id IS
'UUIDv7, made by the database or by the caller; not tied to started_at, since imports are old.';
COMMENT ON COLUMN clonedb.conversation_sessions.started_at IS
'When the conversation began; its turns have ids from 5 minutes before to 7 days after.';
COMMENT ON COLUMN clonedb.conversation_sessions.ended_at IS
'When it ended, once and for all; NULL while it goes on.';
COMMENT ON COLUMN clonedb.conversation_sessions.state IS
'idle, listening, processing, speaking, interrupted or error; see session_transitions.';
COMMENT ON COLUMN clonedb.conversation_sessions.llm_provider IS 'The language model that answers.';
COMMENT ON COLUMN clonedb.conversation_sessions.tts_provider IS
'The speech synthesis that speaks.';
COMMENT ON COLUMN clonedb.conversation_sessions.voice_model_id IS
'The user''s voice that is used, if any; must be taken off before the model is deleted for good.';
COMMENT ON COLUMN clonedb.conversation_sessions.face_model_id IS
'The user''s face that is used, if any; must be taken off before the model is deleted for good.';
COMMENT ON COLUMN clonedb.conversation_sessions.total_turns IS 'How many turns were recorded.';
COMMENT ON COLUMN clonedb.conversation_sessions.total_latency_ms IS
'The sum of the turns'' total latencies, in milliseconds.';
COMMENT ON COLUMN clonedb.conversation_sessions.average_latency_ms IS
'total_latency_ms by total_turns; NULL without turns.';
COMMENT ON COLUMN clonedb.conversation_sessions.total_cost IS
'The sum of the turns'' costs, in US dollars.';
COMMENT ON COLUMN clonedb.conversation_sessions.turn_window_start IS
'The lowest id of its turns. A join by session_window_start(started_at) reads every month under
row-level security, since functions are not leakproof; comparing with a column prunes.';
COMMENT ON COLUMN clonedb.conversation_sessions.turn_window_end IS
'What the ids of its turns are below; see turn_window_start.';
COMMENT ON COLUMN clonedb.conversation_sessions.created_at IS 'When the row was stored.';
COMMENT ON COLUMN clonedb.conversation_sessions.updated_at IS 'When the row last changed.';
COMMENT ON COLUMN clonedb.conversation_sessions.deleted_at IS
'When it was deleted (softly), NULL while living; its turns are hidden with it.';

CREATE INDEX conversation_sessions_living_newest
ON clonedb.conversation_sessions (user_id, started_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.conversation_sessions_living_newest IS
'Pages of a user''s living sessions, newest first.';

CREATE INDEX conversation_sessions_open
ON clonedb.conversation_sessions (user_id, started_at DESC, id DESC)
WHERE ended_at IS NULL AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.conversation_sessions_open IS
'Sessions that go on: those of a user, or all of them, which are few.';

CREATE INDEX conversation_sessions_voice_model
ON clonedb.conversation_sessions (user_id, voice_model_id);
COMMENT ON INDEX clonedb.conversation_sessions_voice_model IS
'The sessions that use a voice, for its foreign key.';

CREATE INDEX conversation_sessions_face_model
ON clonedb.conversation_sessions (user_id, face_model_id);
COMMENT ON INDEX clonedb.conversation_sessions_face_model IS
'The sessions that use a face, for its foreign key.';

CREATE INDEX conversation_sessions_deleted
ON clonedb.conversation_sessions (deleted_at, user_id)
WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX clonedb.conversation_sessions_deleted IS
'Deleted sessions by their stamp: to restore with their user, and to purge.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.conversation_sessions');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.conversation_sessions
TO clonedb_app, clonedb_worker, clonedb_dba;
-- Nothing here was said by anybody: readonly may see all of it.
GRANT SELECT ON clonedb.conversation_sessions TO clonedb_readonly;
