-- Creates the conversation turns, partitioned by month, with the last month, this one and 24 ahead.
-- depends: 0011_create_partition_functions
-- why: turns are what grows. The month is in the id, so a read that bounds the id by its session's
--   window touches one or two partitions, and an old month is dropped in an instant.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on conversation_sessions
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.conversation_turns (
    user_id uuid NOT NULL,
    session_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    session_started_at timestamptz NOT NULL,
    turn_number integer NOT NULL,
    user_transcript text NOT NULL,
    transcript_confidence double precision,
    user_audio_duration_ms integer,
    retrieved_chunks text[] NOT NULL DEFAULT '{}',
    llm_response text NOT NULL,
    response_audio_duration_ms integer,
    asr_latency_ms integer,
    rag_latency_ms integer,
    llm_latency_ms integer,
    tts_latency_ms integer,
    total_latency_ms integer NOT NULL,
    asr_cost numeric(12, 6) NOT NULL DEFAULT 0,
    llm_cost numeric(12, 6) NOT NULL DEFAULT 0,
    tts_cost numeric(12, 6) NOT NULL DEFAULT 0,
    total_cost numeric(14, 6) GENERATED ALWAYS AS (asr_cost + llm_cost + tts_cost) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT conversation_turns_pkey PRIMARY KEY (user_id, session_id, id),
    -- With the start, so that the window below is the session's own.
    CONSTRAINT conversation_turns_session_exists FOREIGN KEY (
        user_id, session_started_at, session_id
    )
    REFERENCES clonedb.conversation_sessions (user_id, started_at, id) ON DELETE CASCADE,
    CONSTRAINT conversation_turns_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    -- session_window_start and session_window_end written out: the server plans the CHECKs of a
    -- table anew for each statement, and putting the functions' bodies in took 40 us of 300.
    CONSTRAINT conversation_turns_id_is_in_session_window CHECK (
        id >= encode(
            int8send(
                (floor(
                    extract(EPOCH FROM session_started_at AT TIME ZONE 'UTC' - interval '5 minutes')
                    * 1000
                )::bigint << 16)
                | 28672
            )
            || '\x8000000000000000'::bytea,
            'hex'
        )::uuid
        AND id < encode(
            int8send(
                (floor(
                    extract(EPOCH FROM session_started_at AT TIME ZONE 'UTC' + interval '7 days')
                    * 1000
                )::bigint << 16)
                | 28672
            )
            || '\x8000000000000000'::bytea,
            'hex'
        )::uuid
    ),
    CONSTRAINT conversation_turns_turn_number_is_positive CHECK (turn_number > 0),
    CONSTRAINT conversation_turns_user_transcript_is_small CHECK (
        octet_length(user_transcript) <= 1048576
    ),
    CONSTRAINT conversation_turns_transcript_confidence_is_a_share CHECK (
        transcript_confidence BETWEEN 0 AND 1
    ),
    CONSTRAINT conversation_turns_user_audio_duration_ms_is_not_negative CHECK (
        user_audio_duration_ms >= 0
    ),
    CONSTRAINT conversation_turns_retrieved_chunks_are_few CHECK (
        cardinality(retrieved_chunks) <= 1000
        AND array_position(retrieved_chunks, NULL) IS NULL
    ),
    CONSTRAINT conversation_turns_retrieved_chunks_are_small CHECK (
        pg_column_size(retrieved_chunks) <= 4194304
    ),
    CONSTRAINT conversation_turns_llm_response_is_small CHECK (
        octet_length(llm_response) <= 1048576
    ),
    CONSTRAINT conversation_turns_response_audio_duration_ms_is_not_negative CHECK (
        response_audio_duration_ms >= 0
    ),
    CONSTRAINT conversation_turns_asr_latency_ms_is_not_negative CHECK (asr_latency_ms >= 0),
    CONSTRAINT conversation_turns_rag_latency_ms_is_not_negative CHECK (rag_latency_ms >= 0),
    CONSTRAINT conversation_turns_llm_latency_ms_is_not_negative CHECK (llm_latency_ms >= 0),
    CONSTRAINT conversation_turns_tts_latency_ms_is_not_negative CHECK (tts_latency_ms >= 0),
    CONSTRAINT conversation_turns_total_latency_ms_is_not_negative CHECK (total_latency_ms >= 0),
    CONSTRAINT conversation_turns_asr_cost_is_not_negative CHECK (
        asr_cost >= 0 AND asr_cost <> 'NaN'
    ),
    CONSTRAINT conversation_turns_llm_cost_is_not_negative CHECK (
        llm_cost >= 0 AND llm_cost <> 'NaN'
    ),
    CONSTRAINT conversation_turns_tts_cost_is_not_negative CHECK (
        tts_cost >= 0 AND tts_cost <> 'NaN'
    )
) PARTITION BY RANGE (id);

COMMENT ON TABLE clonedb.conversation_turns IS
'What was said in a session, what it took and what it cost. Turns do not change.';
COMMENT ON COLUMN clonedb.conversation_turns.user_id IS 'The user who talks.';
COMMENT ON COLUMN clonedb.conversation_turns.session_id IS 'The session, one of the same user.';
COMMENT ON COLUMN clonedb.conversation_turns.id IS
'UUIDv7 within the session''s window; its month is the partition.';
COMMENT ON COLUMN clonedb.conversation_turns.session_started_at IS
'When the session began, copied so that the window can be checked on the row.';
COMMENT ON COLUMN clonedb.conversation_turns.turn_number IS
'1, 2, 3 … within the session: what turns are ordered by, since hosts'' clocks differ.';
COMMENT ON COLUMN clonedb.conversation_turns.user_transcript IS
'What the person said, as it was understood, at most 1 MiB.';
COMMENT ON COLUMN clonedb.conversation_turns.transcript_confidence IS
'How sure the recognition was, 0 to 1.';
COMMENT ON COLUMN clonedb.conversation_turns.user_audio_duration_ms IS
'How long the person spoke, in milliseconds.';
COMMENT ON COLUMN clonedb.conversation_turns.retrieved_chunks IS
'The pieces of documents that the answer was given, at most 1,000 and 4 MiB.';
COMMENT ON COLUMN clonedb.conversation_turns.llm_response IS 'What the clone said, at most 1 MiB.';
COMMENT ON COLUMN clonedb.conversation_turns.response_audio_duration_ms IS
'How long the clone spoke, in milliseconds.';
COMMENT ON COLUMN clonedb.conversation_turns.asr_latency_ms IS
'Milliseconds that speech recognition took.';
COMMENT ON COLUMN clonedb.conversation_turns.rag_latency_ms IS
'Milliseconds that retrieval took.';
COMMENT ON COLUMN clonedb.conversation_turns.llm_latency_ms IS
'Milliseconds that the language model took.';
COMMENT ON COLUMN clonedb.conversation_turns.tts_latency_ms IS
'Milliseconds that speech synthesis took.';
COMMENT ON COLUMN clonedb.conversation_turns.total_latency_ms IS
'Milliseconds that the person waited; stages overlap, so this is not their sum.';
COMMENT ON COLUMN clonedb.conversation_turns.asr_cost IS
'Cost of speech recognition, in US dollars.';
COMMENT ON COLUMN clonedb.conversation_turns.llm_cost IS
'Cost of the language model, in US dollars.';
COMMENT ON COLUMN clonedb.conversation_turns.tts_cost IS
'Cost of speech synthesis, in US dollars.';
COMMENT ON COLUMN clonedb.conversation_turns.total_cost IS 'The sum of the three costs.';
COMMENT ON COLUMN clonedb.conversation_turns.created_at IS 'When the row was stored.';

CREATE INDEX conversation_turns_in_order
ON clonedb.conversation_turns (user_id, session_id, turn_number, id);
COMMENT ON INDEX clonedb.conversation_turns_in_order IS 'Pages of a session''s turns.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.conversation_turns');
END
$protect$;

-- UPDATE of the id alone is what an upsert that returns the stored row needs.
GRANT SELECT, INSERT, UPDATE (id) ON clonedb.conversation_turns TO clonedb_app, clonedb_worker;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.conversation_turns TO clonedb_dba;
GRANT SELECT (
    user_id,
    session_id,
    id,
    session_started_at,
    turn_number,
    transcript_confidence,
    user_audio_duration_ms,
    response_audio_duration_ms,
    asr_latency_ms,
    rag_latency_ms,
    llm_latency_ms,
    tts_latency_ms,
    total_latency_ms,
    asr_cost,
    llm_cost,
    tts_cost,
    total_cost,
    created_at
) ON clonedb.conversation_turns TO clonedb_readonly;

CREATE FUNCTION clonedb.create_turn_partitions(p_from date, p_months integer) RETURNS integer
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clonedb.create_month_partitions('clonedb.conversation_turns', p_from, p_months);
END
$$;

COMMENT ON FUNCTION clonedb.create_turn_partitions(date, integer) IS
'Makes the missing months of conversation_turns among p_months from the month of p_from on, and
returns how many. Years back for imports, ahead for the future. Safe to repeat and to run at once;
waits for open writers of sessions in short turns, and raises 55P03 where they gave it no chance.';

CREATE FUNCTION clonedb.turn_months_ahead() RETURNS integer
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clonedb.months_ahead('clonedb.conversation_turns');
END
$$;

COMMENT ON FUNCTION clonedb.turn_months_ahead() IS
'How many months of turns after this one are ready without a gap; -1 where this one is missing.';

GRANT EXECUTE ON FUNCTION clonedb.create_turn_partitions(date, integer)
TO clonedb_worker, clonedb_dba;
GRANT EXECUTE ON FUNCTION clonedb.turn_months_ahead()
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_dba;

DO $months$
BEGIN
    -- The month before, for sessions that are going on and for clocks that are late.
    PERFORM clonedb.create_turn_partitions(
        (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date,
        26
    );
END
$months$;
