-- Users: the people whose clones these are.
--
-- `user_id` is given in a user's own scope and narrows every query to that user; the worker
-- login works across users without it.

-- name: add_minutes(user_id, id, minutes)^
-- Adds conversation minutes to a living user and returns the row.
UPDATE clonedb.users AS u
SET
    conversation_minutes_used = u.conversation_minutes_used + :minutes::numeric,
    updated_at = statement_timestamp()
WHERE u.id = :id::uuid
    AND u.id = :user_id::uuid  -- filter: user
    AND u.deleted_at IS NULL
RETURNING
    u.id,
    u.email,
    u.name,
    u.personality_traits,
    u.speaking_style,
    u.preferred_llm_provider,
    u.preferred_tts_provider,
    u.subscription_tier,
    u.conversation_minutes_used,
    u.settings,
    u.created_at,
    u.updated_at,
    u.deleted_at;

-- name: count(user_id, subscription_tier, preferred_llm_provider, created_from, created_before)$
-- How many users match.
-- users: all
-- plan: scan users
SELECT count(*)
FROM clonedb.users AS u
WHERE true
    AND u.id = :user_id::uuid  -- filter: user
    AND u.deleted_at IS NULL  -- unless: include_deleted
    AND u.subscription_tier = :subscription_tier::text  -- filter: subscription_tier
    AND u.preferred_llm_provider = :preferred_llm_provider::text  -- filter: preferred_llm_provider
    AND u.created_at >= :created_from::timestamptz  -- filter: created_from
    AND u.created_at < :created_before::timestamptz;  -- filter: created_before

-- name: create(id, email, name, personality_traits, speaking_style, preferred_llm_provider, preferred_tts_provider, subscription_tier, settings)^
-- Stores a user, or returns the one already stored under the same id.
-- DO UPDATE instead of DO NOTHING: a repeat that races with the first must see its row.
WITH stored AS (
    INSERT INTO clonedb.users AS u (
        id,
        email,
        name,
        personality_traits,
        speaking_style,
        preferred_llm_provider,
        preferred_tts_provider,
        subscription_tier,
        settings
    )
    VALUES (
        coalesce(:id::uuid, clonedb.uuid_v7()),
        :email::text,
        :name::text,
        :personality_traits::text[],
        :speaking_style::text,
        :preferred_llm_provider::text,
        :preferred_tts_provider::text,
        :subscription_tier::text,
        :settings::jsonb
    )
    ON CONFLICT (id) DO UPDATE SET id = excluded.id
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref,
        (u.xmax = 0) AS created
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
        clonedb.acting_ref(stored.subject_ref),
        stored.subject_ref,
        'user.sign_up',
        'users',
        'success'
    FROM stored
    WHERE stored.created
)
SELECT
    stored.id,
    stored.email,
    stored.name,
    stored.personality_traits,
    stored.speaking_style,
    stored.preferred_llm_provider,
    stored.preferred_tts_provider,
    stored.subscription_tier,
    stored.conversation_minutes_used,
    stored.settings,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: create_many(rows)
-- Stores many users from one array of JSON objects; those already stored are returned as they are.
WITH stored AS (
    INSERT INTO clonedb.users AS u (
        id,
        email,
        name,
        personality_traits,
        speaking_style,
        preferred_llm_provider,
        preferred_tts_provider,
        subscription_tier,
        settings
    )
    SELECT
        coalesce(given.id, clonedb.uuid_v7()),
        given.email,
        given.name,
        given.personality_traits,
        given.speaking_style,
        given.preferred_llm_provider,
        given.preferred_tts_provider,
        given.subscription_tier,
        given.settings
    FROM json_to_recordset(:rows::json) AS given (
        id uuid,
        email text,
        name text,
        personality_traits text[],
        speaking_style text,
        preferred_llm_provider text,
        preferred_tts_provider text,
        subscription_tier text,
        settings jsonb
    )
    -- One order of locks for everybody: two batches with the same users cannot deadlock.
    ORDER BY given.id
    ON CONFLICT (id) DO UPDATE SET id = excluded.id
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref,
        (u.xmax = 0) AS created
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
        clonedb.acting_ref(stored.subject_ref),
        stored.subject_ref,
        'user.sign_up',
        'users',
        'success'
    FROM stored
    WHERE stored.created
)
SELECT
    stored.id,
    stored.email,
    stored.name,
    stored.personality_traits,
    stored.speaking_style,
    stored.preferred_llm_provider,
    stored.preferred_tts_provider,
    stored.subscription_tier,
    stored.conversation_minutes_used,
    stored.settings,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: delete(user_id, id)$
-- Hides a living user and all that they own with one stamp, and drops their cached entries.
-- Restoring looks for that stamp, so what had been deleted before stays deleted. Rows that others
-- lock several of are locked in the order of their ids, as everywhere: a deletion and a batch of
-- turns cannot deadlock.
WITH deleted AS (
    UPDATE clonedb.users AS u
    SET
        deleted_at = statement_timestamp(),
        updated_at = statement_timestamp()
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL
    RETURNING
        u.subject_ref,
        u.deleted_at
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
        clonedb.acting_ref(deleted.subject_ref),
        deleted.subject_ref,
        'user.delete',
        'users',
        'success'
    FROM deleted
),
locked_voice_models AS (
    SELECT
        owned.id,
        deleted.deleted_at
    FROM deleted
    INNER JOIN clonedb.voice_models AS owned ON owned.user_id = :id::uuid
    WHERE owned.deleted_at IS NULL
    ORDER BY owned.id
    FOR NO KEY UPDATE OF owned
),
stamped_voice_models AS (
    UPDATE clonedb.voice_models AS owned
    SET deleted_at = locked_voice_models.deleted_at
    FROM locked_voice_models
    WHERE owned.user_id = :id::uuid
        AND owned.id = locked_voice_models.id
        AND owned.deleted_at IS NULL
    RETURNING owned.id
),
locked_face_models AS (
    SELECT
        owned.id,
        deleted.deleted_at
    FROM deleted
    INNER JOIN clonedb.face_models AS owned ON owned.user_id = :id::uuid
    WHERE owned.deleted_at IS NULL
    ORDER BY owned.id
    FOR NO KEY UPDATE OF owned
),
stamped_face_models AS (
    UPDATE clonedb.face_models AS owned
    SET deleted_at = locked_face_models.deleted_at
    FROM locked_face_models
    WHERE owned.user_id = :id::uuid
        AND owned.id = locked_face_models.id
        AND owned.deleted_at IS NULL
    RETURNING owned.id
),
locked_conversation_sessions AS (
    SELECT
        owned.id,
        deleted.deleted_at
    FROM deleted
    INNER JOIN clonedb.conversation_sessions AS owned ON owned.user_id = :id::uuid
    WHERE owned.deleted_at IS NULL
    ORDER BY owned.id
    FOR NO KEY UPDATE OF owned
),
stamped_conversation_sessions AS (
    UPDATE clonedb.conversation_sessions AS owned
    SET deleted_at = locked_conversation_sessions.deleted_at
    FROM locked_conversation_sessions
    WHERE owned.user_id = :id::uuid
        AND owned.id = locked_conversation_sessions.id
        AND owned.deleted_at IS NULL
    RETURNING owned.id
),
stamped_knowledge_documents AS (
    UPDATE clonedb.knowledge_documents AS owned
    SET deleted_at = deleted.deleted_at
    FROM deleted
    WHERE owned.user_id = :id::uuid
        AND owned.deleted_at IS NULL
    RETURNING owned.id
),
dropped_embedding_cache AS (
    DELETE FROM clonedb.embedding_cache AS cached
    USING deleted
    WHERE cached.user_id = :id::uuid
    RETURNING cached.user_id
),
dropped_vector_search_cache AS (
    DELETE FROM clonedb.vector_search_cache AS cached
    USING deleted
    WHERE cached.user_id = :id::uuid
    RETURNING cached.user_id
),
dropped_llm_response_cache AS (
    DELETE FROM clonedb.llm_response_cache AS cached
    USING deleted
    WHERE cached.user_id = :id::uuid
    RETURNING cached.user_id
),
dropped_audio_chunk_cache AS (
    DELETE FROM clonedb.audio_chunk_cache AS cached
    USING deleted
    WHERE cached.user_id = :id::uuid
    RETURNING cached.user_id
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :id::uuid,
        ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk']
    FROM deleted
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT deleted.deleted_at
FROM deleted;

-- name: exists(user_id, subscription_tier, preferred_llm_provider, created_from, created_before)$
-- Whether any user matches.
-- users: all
-- plan: scan users
SELECT EXISTS (
    SELECT
    FROM clonedb.users AS u
    WHERE true
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL  -- unless: include_deleted
        AND u.subscription_tier = :subscription_tier::text  -- filter: subscription_tier
        AND u.preferred_llm_provider = :preferred_llm_provider::text  -- filter: preferred_llm_provider
        AND u.created_at >= :created_from::timestamptz  -- filter: created_from
        AND u.created_at < :created_before::timestamptz  -- filter: created_before
);

-- name: find_by_email(user_id, email)^
-- The living user with this e-mail, whatever its case.
-- users: all
-- rows <= 1
SELECT
    u.id,
    u.email,
    u.name,
    u.personality_traits,
    u.speaking_style,
    u.preferred_llm_provider,
    u.preferred_tts_provider,
    u.subscription_tier,
    u.conversation_minutes_used,
    u.settings,
    u.created_at,
    u.updated_at,
    u.deleted_at
FROM clonedb.users AS u
WHERE u.email_key = lower(:email::text)
    AND u.id = :user_id::uuid  -- filter: user
    AND u.deleted_at IS NULL;

-- name: find_by_id(user_id, id)^
-- One user.
-- plan: index users_pkey
-- rows <= 1
SELECT
    u.id,
    u.email,
    u.name,
    u.personality_traits,
    u.speaking_style,
    u.preferred_llm_provider,
    u.preferred_tts_provider,
    u.subscription_tier,
    u.conversation_minutes_used,
    u.settings,
    u.created_at,
    u.updated_at,
    u.deleted_at
FROM clonedb.users AS u
WHERE u.id = :id::uuid
    AND u.id = :user_id::uuid  -- filter: user
    AND u.deleted_at IS NULL;  -- unless: include_deleted

-- name: find_login(user_id, email)^
-- The id and tier that belong to an e-mail, for the app login before it knows the user.
SELECT
    login.id,
    login.subscription_tier
FROM clonedb.find_login(:email::text) AS login
WHERE true
    AND login.id = :user_id::uuid;  -- filter: user

-- name: find_many(user_id, subscription_tier, preferred_llm_provider, created_from, created_before, after_created_at, after_id, limit)
-- One page of users.
-- users: all
-- plan: scan users
SELECT
    u.id,
    u.email,
    u.name,
    u.personality_traits,
    u.speaking_style,
    u.preferred_llm_provider,
    u.preferred_tts_provider,
    u.subscription_tier,
    u.conversation_minutes_used,
    u.settings,
    u.created_at,
    u.updated_at,
    u.deleted_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.users AS u  -- when: with_total
        WHERE true  -- when: with_total
            AND u.id = :user_id::uuid  -- when: with_total; filter: user
            AND u.deleted_at IS NULL  -- when: with_total; unless: include_deleted
            AND u.subscription_tier = :subscription_tier::text  -- when: with_total; filter: subscription_tier
            AND u.preferred_llm_provider = :preferred_llm_provider::text  -- when: with_total; filter: preferred_llm_provider
            AND u.created_at >= :created_from::timestamptz  -- when: with_total; filter: created_from
            AND u.created_at < :created_before::timestamptz  -- when: with_total; filter: created_before
    ) AS total  -- when: with_total
FROM clonedb.users AS u
WHERE true
    AND u.id = :user_id::uuid  -- filter: user
    AND u.deleted_at IS NULL  -- unless: include_deleted
    AND u.subscription_tier = :subscription_tier::text  -- filter: subscription_tier
    AND u.preferred_llm_provider = :preferred_llm_provider::text  -- filter: preferred_llm_provider
    AND u.created_at >= :created_from::timestamptz  -- filter: created_from
    AND u.created_at < :created_before::timestamptz  -- filter: created_before
    AND (u.created_at, u.id) < (:after_created_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (u.created_at, u.id) > (:after_created_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY u.created_at DESC, u.id DESC  -- order: newest
ORDER BY u.created_at ASC, u.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: hard_delete(user_id, id, deleted_before)$
-- Removes a user, living or deleted, and every row that hangs on them.
-- Sessions go in the same statement, since their references to models would refuse the cascade.
-- Entries of the audit log stay, naming nobody any more, and lose their details. Buckets hold
-- nothing but a number of tokens, and go when they have been idle.
-- What lies in the object store is deleted afterwards: the keys, which name nobody, wait in the outbox.
WITH removed AS (
    DELETE FROM clonedb.users AS u
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
    RETURNING
        u.id,
        u.subject_ref
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
        clonedb.acting_ref(removed.subject_ref),
        removed.subject_ref,
        'user.erase',
        'users',
        'success'
    FROM removed
),
locked_conversation_sessions AS (
    SELECT owned.id
    FROM removed
    INNER JOIN clonedb.conversation_sessions AS owned ON owned.user_id = removed.id
    ORDER BY owned.id
    FOR UPDATE OF owned
),
removed_conversation_sessions AS (
    DELETE FROM clonedb.conversation_sessions AS owned
    USING locked_conversation_sessions
    WHERE owned.user_id = :id::uuid
        AND owned.id = locked_conversation_sessions.id
    RETURNING owned.id
),
dropped_embedding_cache AS (
    DELETE FROM clonedb.embedding_cache AS cached
    USING removed
    WHERE cached.user_id = removed.id
    RETURNING cached.user_id
),
dropped_vector_search_cache AS (
    DELETE FROM clonedb.vector_search_cache AS cached
    USING removed
    WHERE cached.user_id = removed.id
    RETURNING cached.user_id
),
dropped_llm_response_cache AS (
    DELETE FROM clonedb.llm_response_cache AS cached
    USING removed
    WHERE cached.user_id = removed.id
    RETURNING cached.user_id
),
dropped_audio_chunk_cache AS (
    DELETE FROM clonedb.audio_chunk_cache AS cached
    USING removed
    WHERE cached.user_id = removed.id
    RETURNING cached.user_id
),
dropped_cache_fill_leases AS (
    DELETE FROM clonedb.cache_fill_leases AS lease
    USING removed
    WHERE lease.user_id = removed.id
    RETURNING lease.user_id
),
dropped_cache_changes AS (
    DELETE FROM clonedb.cache_changes AS ch
    USING removed
    WHERE ch.user_id = removed.id
    RETURNING ch.user_id
),
erased_audit_details AS (
    DELETE FROM clonedb.audit_subjects AS details
    USING removed
    WHERE details.user_id = removed.id
    RETURNING details.id
),
removed_stored_objects AS (
    DELETE FROM clonedb.stored_objects AS owned
    USING removed
    WHERE owned.user_id = removed.id
    RETURNING owned.object_key
),
removed_object_uploads AS (
    DELETE FROM clonedb.object_uploads AS owned
    USING removed
    WHERE owned.user_id = removed.id
    RETURNING
        owned.object_key,
        owned.expires_at
),
left_in_the_store AS (
    INSERT INTO clonedb.object_deletions (object_key, due_at)
    SELECT
        removed_stored_objects.object_key,
        statement_timestamp()
    FROM removed_stored_objects
    UNION ALL
    -- Whoever uploads may still be at it: later what it has written is whole, and found.
    SELECT
        removed_object_uploads.object_key,
        removed_object_uploads.expires_at
    FROM removed_object_uploads
)
SELECT removed.id
FROM removed
CROSS JOIN LATERAL pg_notify(
    'clonedb_caches',
    clonedb.cache_notice(
        removed.id, ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk']
    )
);

-- name: merge_settings(user_id, id, settings, removed)^
-- Sets and removes top-level keys of a living user's settings, leaving the others.
WITH changed AS (
    UPDATE clonedb.users AS u
    SET
        settings = (u.settings || :settings::jsonb) - :removed::text[],
        updated_at = statement_timestamp()
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref
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
        clonedb.acting_ref(changed.subject_ref),
        changed.subject_ref,
        'user.configure',
        'users',
        'success'
    FROM changed
)
SELECT
    changed.id,
    changed.email,
    changed.name,
    changed.personality_traits,
    changed.speaking_style,
    changed.preferred_llm_provider,
    changed.preferred_tts_provider,
    changed.subscription_tier,
    changed.conversation_minutes_used,
    changed.settings,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: restore(user_id, id)^
-- Brings a deleted user back with exactly what was hidden by the same deletion.
WITH locked AS (
    SELECT
        u.id,
        u.deleted_at
    FROM clonedb.users AS u
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NOT NULL
    FOR NO KEY UPDATE
),
restored AS (
    UPDATE clonedb.users AS u
    SET
        deleted_at = NULL,
        updated_at = statement_timestamp()
    FROM locked
    WHERE u.id = locked.id
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref
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
        clonedb.acting_ref(restored.subject_ref),
        restored.subject_ref,
        'user.restore',
        'users',
        'success'
    FROM restored
),
restored_voice_models AS (
    UPDATE clonedb.voice_models AS owned
    SET deleted_at = NULL
    FROM locked
    WHERE owned.user_id = :id::uuid
        AND owned.deleted_at = locked.deleted_at
    RETURNING owned.id
),
restored_face_models AS (
    UPDATE clonedb.face_models AS owned
    SET deleted_at = NULL
    FROM locked
    WHERE owned.user_id = :id::uuid
        AND owned.deleted_at = locked.deleted_at
    RETURNING owned.id
),
restored_conversation_sessions AS (
    UPDATE clonedb.conversation_sessions AS owned
    SET deleted_at = NULL
    FROM locked
    WHERE owned.user_id = :id::uuid
        AND owned.deleted_at = locked.deleted_at
    RETURNING owned.id
),
restored_knowledge_documents AS (
    UPDATE clonedb.knowledge_documents AS owned
    SET deleted_at = NULL
    FROM locked
    WHERE owned.user_id = :id::uuid
        AND owned.deleted_at = locked.deleted_at
    RETURNING owned.id
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :id::uuid,
        ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk']
    FROM restored
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    restored.id,
    restored.email,
    restored.name,
    restored.personality_traits,
    restored.speaking_style,
    restored.preferred_llm_provider,
    restored.preferred_tts_provider,
    restored.subscription_tier,
    restored.conversation_minutes_used,
    restored.settings,
    restored.created_at,
    restored.updated_at,
    restored.deleted_at
FROM restored;

-- name: set_tier(user_id, id, subscription_tier)^
-- Moves a living user to another subscription tier; the worker login alone may.
WITH changed AS (
    UPDATE clonedb.users AS u
    SET
        subscription_tier = :subscription_tier::text,
        updated_at = statement_timestamp()
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref
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
        clonedb.acting_ref(changed.subject_ref),
        changed.subject_ref,
        'user.set_tier',
        'users',
        'success'
    FROM changed
)
SELECT
    changed.id,
    changed.email,
    changed.name,
    changed.personality_traits,
    changed.speaking_style,
    changed.preferred_llm_provider,
    changed.preferred_tts_provider,
    changed.subscription_tier,
    changed.conversation_minutes_used,
    changed.settings,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: sign_up(id, email, name, personality_traits, speaking_style, preferred_llm_provider, preferred_tts_provider, settings)^
-- Stores a user of the free tier for the app login, which may not insert users by itself.
-- access: write
SELECT
    u.id,
    u.email,
    u.name,
    u.personality_traits,
    u.speaking_style,
    u.preferred_llm_provider,
    u.preferred_tts_provider,
    u.subscription_tier,
    u.conversation_minutes_used,
    u.settings,
    u.created_at,
    u.updated_at,
    u.deleted_at
FROM clonedb.sign_up(
    :id::uuid,
    :email::text,
    :name::text,
    :personality_traits::text[],
    :speaking_style::text,
    :preferred_llm_provider::text,
    :preferred_tts_provider::text,
    :settings::jsonb
) AS u;

-- name: update(user_id, id, fields, email, name, personality_traits, speaking_style, preferred_llm_provider, preferred_tts_provider, settings)^
-- Changes the named fields of a living user.
-- CASE over a list of names, since COALESCE could not set NULL.
WITH changed AS (
    UPDATE clonedb.users AS u
    SET
        email = CASE WHEN 'email' = ANY(:fields::text[]) THEN :email::text ELSE u.email END,
        name = CASE WHEN 'name' = ANY(:fields::text[]) THEN :name::text ELSE u.name END,
        personality_traits = CASE
            WHEN 'personality_traits' = ANY(:fields::text[]) THEN :personality_traits::text[]
            ELSE u.personality_traits
        END,
        speaking_style = CASE
            WHEN 'speaking_style' = ANY(:fields::text[]) THEN :speaking_style::text
            ELSE u.speaking_style
        END,
        preferred_llm_provider = CASE
            WHEN 'preferred_llm_provider' = ANY(:fields::text[]) THEN :preferred_llm_provider::text
            ELSE u.preferred_llm_provider
        END,
        preferred_tts_provider = CASE
            WHEN 'preferred_tts_provider' = ANY(:fields::text[]) THEN :preferred_tts_provider::text
            ELSE u.preferred_tts_provider
        END,
        settings = CASE
            WHEN 'settings' = ANY(:fields::text[]) THEN :settings::jsonb
            ELSE u.settings
        END,
        updated_at = statement_timestamp()
    WHERE u.id = :id::uuid
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref
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
        clonedb.acting_ref(changed.subject_ref),
        changed.subject_ref,
        'user.update',
        'users',
        'success'
    FROM changed
)
SELECT
    changed.id,
    changed.email,
    changed.name,
    changed.personality_traits,
    changed.speaking_style,
    changed.preferred_llm_provider,
    changed.preferred_tts_provider,
    changed.subscription_tier,
    changed.conversation_minutes_used,
    changed.settings,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update_many(user_id, ids, fields, name, personality_traits, speaking_style, preferred_llm_provider, preferred_tts_provider, settings)
-- Changes the named fields of several living users to the same values.
WITH chosen AS (
    SELECT u.id
    FROM clonedb.users AS u
    WHERE u.id = ANY(:ids::uuid[])
        AND u.id = :user_id::uuid  -- filter: user
        AND u.deleted_at IS NULL
    ORDER BY u.id
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.users AS u
    SET
        name = CASE WHEN 'name' = ANY(:fields::text[]) THEN :name::text ELSE u.name END,
        personality_traits = CASE
            WHEN 'personality_traits' = ANY(:fields::text[]) THEN :personality_traits::text[]
            ELSE u.personality_traits
        END,
        speaking_style = CASE
            WHEN 'speaking_style' = ANY(:fields::text[]) THEN :speaking_style::text
            ELSE u.speaking_style
        END,
        preferred_llm_provider = CASE
            WHEN 'preferred_llm_provider' = ANY(:fields::text[]) THEN :preferred_llm_provider::text
            ELSE u.preferred_llm_provider
        END,
        preferred_tts_provider = CASE
            WHEN 'preferred_tts_provider' = ANY(:fields::text[]) THEN :preferred_tts_provider::text
            ELSE u.preferred_tts_provider
        END,
        settings = CASE
            WHEN 'settings' = ANY(:fields::text[]) THEN :settings::jsonb
            ELSE u.settings
        END,
        updated_at = statement_timestamp()
    FROM chosen
    WHERE u.id = chosen.id
    RETURNING
        u.id,
        u.email,
        u.name,
        u.personality_traits,
        u.speaking_style,
        u.preferred_llm_provider,
        u.preferred_tts_provider,
        u.subscription_tier,
        u.conversation_minutes_used,
        u.settings,
        u.created_at,
        u.updated_at,
        u.deleted_at,
        u.subject_ref
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
        clonedb.acting_ref(changed.subject_ref),
        changed.subject_ref,
        'user.update',
        'users',
        'success'
    FROM changed
)
SELECT
    changed.id,
    changed.email,
    changed.name,
    changed.personality_traits,
    changed.speaking_style,
    changed.preferred_llm_provider,
    changed.preferred_tts_provider,
    changed.subscription_tier,
    changed.conversation_minutes_used,
    changed.settings,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;
