-- Says of every column what it tells of a person, at the end of its comment: [personal: CLASS].
-- depends: 0029_keep_plans_of_taking_tokens
-- why: who answers a person's question for their data, and who grants a column, has to know what is
--   in it. A comment is read with \d+, dumped with the schema, and checked (clonedb doctor).
-- phase: before deploy
-- locks: SHARE UPDATE EXCLUSIVE on audio_chunk_cache, audit_logs, audit_seals, audit_subjects,
--   cache_budgets, cache_changes, cache_fill_leases, cache_use, conversation_sessions,
--   conversation_turns, daily_quotas, daily_reservations, daily_usage, embedding_cache, face_models,
--   knowledge_documents, llm_response_cache, object_deletions, object_uploads, rate_limit_buckets,
--   rate_limit_receipts, rate_limit_rules, rate_limits, session_transitions, stored_objects, users,
--   vector_search_cache, voice_models (writers pass)
-- rollback: takes the classes out of the comments, and lets ANALYZE sample every column again
--
-- The classes, from the most to the least intimate:
--   biometric   voice or face of a person, or where it lies
--   content     what a person said, wrote, uploaded or was answered, and what was made of it
--   contact     names the person, or reaches them or their machine
--   behaviour   what a person did, chose or used, when, and how much
--   identifier  a number that stands for the person or for one thing of theirs
--   technical   what the service notes to do its work; of itself it tells nothing of the person
--   none        about nobody
-- A column that a later migration adds ends its comment with one of them.
--
-- ANALYZE keeps samples of values in pg_statistic, where they outlive their rows: of an emptied table
-- for ever. So it takes none of what is biometric, content or contact; no plan depends on them.

SET LOCAL ROLE clonedb_owner;

DO $classify$
DECLARE
    v_entry record;
BEGIN
    FOR v_entry IN
        SELECT
            t.attrelid::regclass AS relation,
            t.attname AS column_name,
            col_description(parent.oid, named.attnum) AS meaning,
            listed.class
        FROM (
            VALUES
            ('users', 'identifier', 'id subject_ref'),
            ('users', 'contact', 'email email_key name'),
            ('users', 'content', 'personality_traits speaking_style settings'),
            ('users', 'behaviour', 'preferred_llm_provider preferred_tts_provider '
                'subscription_tier conversation_minutes_used created_at updated_at deleted_at'),

            ('voice_models', 'identifier', 'user_id id'),
            ('voice_models', 'biometric', 'model_path metadata'),
            ('voice_models', 'behaviour', 'is_active created_at updated_at deleted_at'),
            ('voice_models', 'technical', 'provider sample_rate quality_score status'),

            ('face_models', 'identifier', 'user_id id'),
            ('face_models', 'biometric', 'model_path metadata'),
            ('face_models', 'behaviour', 'is_active created_at updated_at deleted_at'),
            ('face_models', 'technical', 'resolution quality_score'),

            ('session_transitions', 'none', 'from_state to_state'),

            ('conversation_sessions', 'identifier', 'user_id id voice_model_id face_model_id '
                'turn_window_start turn_window_end'),
            ('conversation_sessions', 'behaviour', 'started_at ended_at state llm_provider '
                'tts_provider total_turns total_cost created_at updated_at deleted_at'),
            ('conversation_sessions', 'technical', 'total_latency_ms average_latency_ms'),

            ('conversation_turns', 'identifier', 'user_id session_id id'),
            ('conversation_turns', 'content', 'user_transcript retrieved_chunks llm_response'),
            ('conversation_turns', 'behaviour', 'session_started_at turn_number '
                'user_audio_duration_ms response_audio_duration_ms asr_cost llm_cost tts_cost '
                'total_cost created_at'),
            ('conversation_turns', 'technical', 'transcript_confidence asr_latency_ms '
                'rag_latency_ms llm_latency_ms tts_latency_ms total_latency_ms'),

            ('knowledge_documents', 'identifier', 'user_id id vector_ids'),
            ('knowledge_documents', 'content', 'filename title author source_url tags '
                'text_content error_message storage_path metadata search'),
            ('knowledge_documents', 'behaviour', 'uploaded_at created_at updated_at deleted_at'),
            ('knowledge_documents', 'technical', 'content_type size_bytes language chunk_count '
                'status claimed_at claimed_by lease_expires_at attempts processed_at'),

            ('embedding_cache', 'identifier', 'user_id'),
            ('embedding_cache', 'content', 'key embedding tags'),
            ('embedding_cache', 'behaviour', 'hit_count created_at updated_at'),
            ('embedding_cache', 'technical', 'model dimensions snapshot expires_at'),

            ('vector_search_cache', 'identifier', 'user_id document_ids'),
            ('vector_search_cache', 'content', 'key results tags'),
            ('vector_search_cache', 'behaviour', 'hit_count created_at updated_at'),
            ('vector_search_cache', 'technical', 'snapshot expires_at'),

            ('llm_response_cache', 'identifier', 'user_id document_ids'),
            ('llm_response_cache', 'content', 'key response tags'),
            ('llm_response_cache', 'behaviour', 'hit_count created_at updated_at'),
            ('llm_response_cache', 'technical', 'provider snapshot expires_at'),

            ('audio_chunk_cache', 'identifier', 'user_id'),
            ('audio_chunk_cache', 'biometric', 'audio'),
            ('audio_chunk_cache', 'content', 'key tags'),
            ('audio_chunk_cache', 'behaviour', 'hit_count created_at updated_at'),
            ('audio_chunk_cache', 'technical', 'format duration_ms sample_rate snapshot '
                'expires_at'),

            ('cache_fill_leases', 'identifier', 'user_id'),
            ('cache_fill_leases', 'content', 'key'),
            ('cache_fill_leases', 'technical', 'cache holder snapshot expires_at created_at '
                'updated_at'),

            ('cache_changes', 'identifier', 'user_id'),
            ('cache_changes', 'technical', 'xid caches created_at'),

            ('cache_budgets', 'none', 'cache maximum_entries created_at updated_at'),
            ('cache_use', 'none', 'hour cache memory_hits database_hits stale_hits misses fills '
                'failures created_at updated_at'),

            ('rate_limit_rules', 'none', 'tier scope endpoint capacity refill_per_second '
                'created_at updated_at'),

            ('rate_limit_buckets', 'identifier', 'user_id'),
            ('rate_limit_buckets', 'contact', 'subject'),
            ('rate_limit_buckets', 'behaviour', 'endpoint tokens refilled_at'),
            ('rate_limit_buckets', 'technical', 'scope'),

            ('rate_limit_receipts', 'identifier', 'user_id id'),
            ('rate_limit_receipts', 'contact', 'subject'),
            ('rate_limit_receipts', 'behaviour', 'cost buckets taken_at'),
            ('rate_limit_receipts', 'technical', 'scopes'),

            ('rate_limits', 'identifier', 'user_id'),
            ('rate_limits', 'behaviour', 'endpoint window_start request_count denied_count '
                'created_at updated_at'),

            ('daily_quotas', 'none', 'tier conversation_seconds created_at updated_at'),

            ('daily_usage', 'identifier', 'user_id'),
            ('daily_usage', 'behaviour', 'day conversation_seconds turns created_at updated_at'),

            ('daily_reservations', 'identifier', 'user_id id'),
            ('daily_reservations', 'behaviour', 'day reserved_seconds settled_seconds created_at '
                'updated_at'),

            ('audit_logs', 'identifier', 'id actor_ref subject_ref'),
            ('audit_logs', 'behaviour', 'action resource result created_at'),
            ('audit_logs', 'technical', 'system_identifier xid'),

            ('audit_subjects', 'identifier', 'user_id id'),
            ('audit_subjects', 'contact', 'ip_address user_agent'),
            ('audit_subjects', 'content', 'metadata'),
            ('audit_subjects', 'behaviour', 'created_at'),

            -- The digests of entries, whose references name nobody once a person is gone.
            ('audit_seals', 'technical', 'number system_identifier from_xid to_xid entry_count '
                'entries previous_digest digest sealed_at'),

            ('stored_objects', 'identifier', 'user_id id owner_id object_key previous_key sha256'),
            ('stored_objects', 'content', 'name metadata'),
            ('stored_objects', 'behaviour', 'created_at updated_at'),
            ('stored_objects', 'technical', 'kind size_bytes content_type'),

            ('object_uploads', 'identifier', 'user_id object_key'),
            ('object_uploads', 'technical', 'expires_at created_at'),

            ('object_deletions', 'identifier', 'object_key'),
            ('object_deletions', 'technical', 'id due_at attempts last_error created_at')
        ) AS listed (table_name, class, column_names)
        CROSS JOIN LATERAL string_to_table(listed.column_names, ' ') AS each_column (name)
        INNER JOIN pg_class AS parent
            ON parent.relname = listed.table_name
                AND parent.relnamespace = 'clonedb'::regnamespace
        INNER JOIN pg_attribute AS named
            ON named.attrelid = parent.oid AND named.attname = each_column.name
        -- And its months, which had the comments copied when they were made.
        INNER JOIN pg_attribute AS t ON t.attname = each_column.name
        WHERE t.attrelid = parent.oid
            OR t.attrelid IN (
                SELECT i.inhrelid
                FROM pg_inherits AS i
                WHERE i.inhparent = parent.oid
            )
    LOOP
        EXECUTE format(
            'COMMENT ON COLUMN %s.%I IS %L',
            v_entry.relation,
            v_entry.column_name,
            format('%s [personal: %s]', v_entry.meaning, v_entry.class)
        );
    END LOOP;
END
$classify$;

CREATE FUNCTION clonedb.leave_unsampled(p_table regclass) RETURNS void
LANGUAGE plpgsql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_column record;
BEGIN
    FOR v_column IN
        SELECT
            t.attrelid::regclass AS relation,
            t.attname
        FROM pg_attribute AS t
        WHERE (
                t.attrelid = p_table
                OR t.attrelid IN (
                    SELECT i.inhrelid
                    FROM pg_inherits AS i
                    WHERE i.inhparent = p_table
                )
            )
            AND t.attnum > 0
            AND NOT t.attisdropped
            AND t.attstattarget IS DISTINCT FROM 0
            AND col_description(t.attrelid, t.attnum)
            ~ '\[personal: (biometric|content|contact)\]$'
    LOOP
        EXECUTE format(
            'ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS 0',
            v_column.relation,
            v_column.attname
        );
    END LOOP;
END
$$;

COMMENT ON FUNCTION clonedb.leave_unsampled(regclass) IS
'Lets ANALYZE keep no samples of the columns of a table, and of its partitions, that are classified as
biometric, content or contact. For migrations and the partition functions.';

DO $leave_unsampled$
BEGIN
    PERFORM clonedb.leave_unsampled(c.oid::regclass)
    FROM pg_class AS c
    WHERE c.relnamespace = 'clonedb'::regnamespace
        AND c.relkind IN ('r', 'p')
        AND NOT c.relispartition;
END
$leave_unsampled$;

-- A new month has its table's comments, and not what it does without statistics.
CREATE OR REPLACE FUNCTION clonedb.create_turn_partitions(p_from date, p_months integer)
RETURNS integer
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_made constant integer := clonedb.create_month_partitions(
        'clonedb.conversation_turns', p_from, p_months
    );
BEGIN
    IF v_made > 0 THEN
        PERFORM clonedb.leave_unsampled('clonedb.conversation_turns');
    END IF;
    RETURN v_made;
END
$$;
