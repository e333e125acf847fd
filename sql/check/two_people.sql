-- Two people with a row each in every table whose rows belong to users, for the scratch server: the
-- check runs each statement as one of them and looks for anything of the other's. Every text of a
-- person bears their name, so that it is recognised wherever it comes back.
WITH people AS (
    SELECT
        p.id::uuid,
        p.name
    FROM (
        VALUES
        ('01900000-0000-7000-8000-00000000000a', 'ada_of_the_check'),
        ('01900000-0000-7000-8000-00000000000b', 'grace_of_the_check')
    ) AS p (id, name)
),
users AS (
    INSERT INTO clonedb.users (id, email, name, speaking_style)
    SELECT p.id, p.name || '@example.com', p.name, p.name
    FROM people AS p
    RETURNING id, name, subject_ref
),
voices AS (
    INSERT INTO clonedb.voice_models (user_id, provider, model_path, sample_rate, status, is_active)
    SELECT u.id, 'xtts-v2', u.name, 24000, 'completed', true
    FROM users AS u
    RETURNING user_id, id
),
faces AS (
    INSERT INTO clonedb.face_models (user_id, model_path, resolution, is_active)
    SELECT u.id, u.name, '{"width": 512, "height": 512}', true
    FROM users AS u
    RETURNING user_id, id
),
sessions AS (
    INSERT INTO clonedb.conversation_sessions (
        user_id, llm_provider, tts_provider, voice_model_id, face_model_id, total_turns
    )
    SELECT u.id, 'gpt-4-turbo', 'xtts-v2', v.id, f.id, 1
    FROM users AS u
    INNER JOIN voices AS v ON v.user_id = u.id
    INNER JOIN faces AS f ON f.user_id = u.id
    RETURNING user_id, id, started_at
),
turns AS (
    INSERT INTO clonedb.conversation_turns (
        user_id, session_id, session_started_at, turn_number, user_transcript, llm_response,
        retrieved_chunks, total_latency_ms
    )
    SELECT s.user_id, s.id, s.started_at, 1, u.name, u.name, ARRAY[u.name], 5
    FROM sessions AS s
    INNER JOIN users AS u ON u.id = s.user_id
),
documents AS (
    INSERT INTO clonedb.knowledge_documents (
        user_id, filename, content_type, size_bytes, title, text_content, tags
    )
    SELECT u.id, u.name, 'text/plain', 5, u.name, u.name, ARRAY[u.name]
    FROM users AS u
    RETURNING user_id, id
),
-- It makes old what is stored in the same statement, so it names one cache alone. And it is never
-- an hour old, when anybody may remove it: a scratch server is used for days.
changes AS (
    INSERT INTO clonedb.cache_changes (user_id, caches, created_at)
    SELECT u.id, ARRAY['audio_chunk'], 'infinity' FROM users AS u
),
objects AS (
    INSERT INTO clonedb.stored_objects (
        user_id, kind, name, object_key, size_bytes, sha256, content_type
    )
    SELECT
        u.id,
        'voice_model',
        u.name,
        '00/' || md5(u.name),
        5,
        sha256(u.name::bytea),
        'text/plain'
    FROM users AS u
),
uploads AS (
    INSERT INTO clonedb.object_uploads (user_id, object_key, expires_at)
    SELECT u.id, '01/' || md5(u.name), 'infinity'
    FROM users AS u
),
embeddings AS (
    INSERT INTO clonedb.embedding_cache (user_id, key, embedding, model, dimensions, tags, expires_at)
    SELECT u.id, sha256(u.name::bytea), '\x00000000', u.name, 1, ARRAY[u.name], 'infinity'
    FROM users AS u
),
searches AS (
    INSERT INTO clonedb.vector_search_cache (user_id, key, results, document_ids, tags, expires_at)
    SELECT u.id, sha256(u.name::bytea), jsonb_build_array(u.name), ARRAY[d.id], ARRAY[u.name], 'infinity'
    FROM users AS u
    INNER JOIN documents AS d ON d.user_id = u.id
),
responses AS (
    INSERT INTO clonedb.llm_response_cache (
        user_id, key, response, provider, document_ids, tags, expires_at
    )
    SELECT u.id, sha256(u.name::bytea), u.name, 'gpt-4-turbo', ARRAY[d.id], ARRAY[u.name], 'infinity'
    FROM users AS u
    INNER JOIN documents AS d ON d.user_id = u.id
),
chunks AS (
    INSERT INTO clonedb.audio_chunk_cache (
        user_id, key, audio, format, duration_ms, sample_rate, tags, expires_at
    )
    SELECT u.id, sha256(u.name::bytea), u.name::bytea, 'pcm', 1, 24000, ARRAY[u.name], 'infinity'
    FROM users AS u
),
leases AS (
    INSERT INTO clonedb.cache_fill_leases (user_id, cache, key, holder, expires_at)
    SELECT u.id, 'embedding', sha256(u.name::bytea), u.id, 'infinity'
    FROM users AS u
),
buckets AS (
    INSERT INTO clonedb.rate_limit_buckets (user_id, scope, subject, endpoint, tokens, refilled_at)
    SELECT u.id, 'user', '', u.name, 1, now()
    FROM users AS u
),
limits AS (
    INSERT INTO clonedb.rate_limits (user_id, endpoint, window_start, request_count, denied_count)
    SELECT u.id, u.name, date_trunc('minute', now()), 1, 1
    FROM users AS u
),
usage AS (
    INSERT INTO clonedb.daily_usage (user_id, day, conversation_seconds, turns)
    SELECT u.id, current_date, 5, 1
    FROM users AS u
),
reservations AS (
    INSERT INTO clonedb.daily_reservations (user_id, id, day, reserved_seconds)
    SELECT u.id, clonedb.uuid_v7(), current_date, 5
    FROM users AS u
),
receipts AS (
    INSERT INTO clonedb.rate_limit_receipts (
        user_id, id, subject, cost, scopes, buckets, taken_at
    )
    SELECT u.id, clonedb.uuid_v7(), '', 1, ARRAY['user'], ARRAY[u.name], now()
    FROM users AS u
),
logs AS (
    INSERT INTO clonedb.audit_logs (id, actor_ref, subject_ref, action, resource, result)
    SELECT clonedb.uuid_v7(), u.subject_ref, u.subject_ref, 'check', u.name, 'success'
    FROM users AS u
    RETURNING id, subject_ref
)
INSERT INTO clonedb.audit_subjects (user_id, id, user_agent)
SELECT u.id, l.id, u.name
FROM logs AS l
INNER JOIN users AS u ON u.subject_ref = l.subject_ref;
