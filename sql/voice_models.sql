-- Voice models: the voices that were trained for a user; at most one living one is active.

-- name: activate(user_id, id)^
-- Makes a living model the active one, and every other of the user's inactive.
-- All of them are locked first, in one order: whoever waits then decides on what is stored, and
-- the unique index never sees two. An unknown id changes nothing.
WITH locked AS (
    SELECT
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at
    FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
        AND v.deleted_at IS NULL
    ORDER BY v.id
    FOR NO KEY UPDATE
),
wanted AS (
    SELECT
        locked.id,
        locked.provider,
        locked.model_path,
        locked.sample_rate,
        locked.quality_score,
        locked.status,
        locked.is_active,
        locked.metadata,
        locked.created_at,
        locked.updated_at,
        locked.deleted_at
    FROM locked
    WHERE locked.id = :id::uuid
),
deactivated AS (
    UPDATE clonedb.voice_models AS v
    SET
        is_active = false,
        updated_at = statement_timestamp()
    FROM locked, wanted
    WHERE v.user_id = :user_id::uuid
        AND v.id = locked.id
        AND locked.is_active
        AND locked.id <> wanted.id
    RETURNING v.id
),
activated AS (
    UPDATE clonedb.voice_models AS v
    SET
        is_active = true,
        updated_at = statement_timestamp()
    FROM wanted
    WHERE v.user_id = :user_id::uuid
        AND v.id = wanted.id
        AND NOT wanted.is_active
        -- Counting them makes the others inactive first.
        AND (SELECT count(*) FROM deactivated) >= 0
    RETURNING
        v.id,
        v.is_active,
        v.updated_at
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
        'voice_model.activate',
        'voice_models/' || activated.id,
        'success'
    FROM activated
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM activated
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    wanted.id,
    wanted.provider,
    wanted.model_path,
    wanted.sample_rate,
    wanted.quality_score,
    wanted.status,
    coalesce(activated.is_active, wanted.is_active) AS is_active,
    wanted.metadata,
    wanted.created_at,
    coalesce(activated.updated_at, wanted.updated_at) AS updated_at,
    wanted.deleted_at
FROM wanted
LEFT JOIN activated ON true;

-- name: count(user_id, provider, status, quality_from, quality_to)$
-- How many of a user's models match.
SELECT count(*)
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.deleted_at IS NULL  -- unless: include_deleted
    AND v.provider = :provider::text  -- filter: provider
    AND v.status = :status::text  -- filter: status
    AND v.is_active  -- when: active
    AND NOT v.is_active  -- when: not_active
    AND v.quality_score >= :quality_from::double precision  -- filter: quality_from
    AND v.quality_score <= :quality_to::double precision;  -- filter: quality_to

-- name: create(user_id, id, provider, model_path, sample_rate, quality_score, status, metadata)^
-- Stores an inactive model, or returns the one already stored under the same id.
WITH stored AS (
    INSERT INTO clonedb.voice_models AS v (
        user_id,
        id,
        provider,
        model_path,
        sample_rate,
        quality_score,
        status,
        metadata
    )
    VALUES (
        :user_id::uuid,
        coalesce(:id::uuid, clonedb.uuid_v7()),
        :provider::text,
        :model_path::text,
        :sample_rate::bigint,
        :quality_score::double precision,
        :status::text,
        :metadata::jsonb
    )
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at,
        (v.xmax = 0) AS created
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
        'voice_model.create',
        'voice_models/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.provider,
    stored.model_path,
    stored.sample_rate,
    stored.quality_score,
    stored.status,
    stored.is_active,
    stored.metadata,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: create_many(user_id, rows)
-- Stores many models from one array of JSON objects; those already stored come back as they are.
WITH stored AS (
    INSERT INTO clonedb.voice_models AS v (
        user_id,
        id,
        provider,
        model_path,
        sample_rate,
        quality_score,
        status,
        metadata
    )
    SELECT
        :user_id::uuid,
        coalesce(given.id, clonedb.uuid_v7()),
        given.provider,
        given.model_path,
        given.sample_rate,
        given.quality_score,
        given.status,
        given.metadata
    FROM json_to_recordset(:rows::json) AS given (
        id uuid,
        provider text,
        model_path text,
        sample_rate bigint,
        quality_score double precision,
        status text,
        metadata jsonb
    )
    ORDER BY given.id
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at,
        (v.xmax = 0) AS created
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
        'voice_model.create',
        'voice_models/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.provider,
    stored.model_path,
    stored.sample_rate,
    stored.quality_score,
    stored.status,
    stored.is_active,
    stored.metadata,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: deactivate(user_id)$
-- Leaves a user without an active model.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET
        is_active = false,
        updated_at = statement_timestamp()
    WHERE v.user_id = :user_id::uuid
        AND v.is_active
        AND v.deleted_at IS NULL
    RETURNING v.id
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
        'voice_model.deactivate',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT changed.id
FROM changed;

-- name: delete(user_id, id)$
-- Hides a living model, which is active no more.
-- Restored as the active one it could stand beside another.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET
        deleted_at = statement_timestamp(),
        updated_at = statement_timestamp(),
        is_active = false
    WHERE v.user_id = :user_id::uuid
        AND v.id = :id::uuid
        AND v.deleted_at IS NULL
    RETURNING
        v.id,
        v.deleted_at
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
        'voice_model.delete',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT changed.deleted_at
FROM changed;

-- name: exists(user_id, provider, status, quality_from, quality_to)$
-- Whether any of a user's models matches.
SELECT EXISTS (
    SELECT
    FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
        AND v.deleted_at IS NULL  -- unless: include_deleted
        AND v.provider = :provider::text  -- filter: provider
        AND v.status = :status::text  -- filter: status
        AND v.is_active  -- when: active
        AND NOT v.is_active  -- when: not_active
        AND v.quality_score >= :quality_from::double precision  -- filter: quality_from
        AND v.quality_score <= :quality_to::double precision  -- filter: quality_to
);

-- name: find_active(user_id)^
-- The model that new sessions use.
-- plan: index voice_models_one_active
-- rows <= 1
SELECT
    v.id,
    v.provider,
    v.model_path,
    v.sample_rate,
    v.quality_score,
    v.status,
    v.is_active,
    v.metadata,
    v.created_at,
    v.updated_at,
    v.deleted_at
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.is_active
    AND v.deleted_at IS NULL;

-- name: find_by_id(user_id, id)^
-- One model.
SELECT
    v.id,
    v.provider,
    v.model_path,
    v.sample_rate,
    v.quality_score,
    v.status,
    v.is_active,
    v.metadata,
    v.created_at,
    v.updated_at,
    v.deleted_at
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.id = :id::uuid
    AND v.deleted_at IS NULL;  -- unless: include_deleted

-- name: find_many(user_id, provider, status, quality_from, quality_to, after_created_at, after_id, limit)
-- One page of a user's models.
SELECT
    v.id,
    v.provider,
    v.model_path,
    v.sample_rate,
    v.quality_score,
    v.status,
    v.is_active,
    v.metadata,
    v.created_at,
    v.updated_at,
    v.deleted_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.voice_models AS v  -- when: with_total
        WHERE v.user_id = :user_id::uuid  -- when: with_total
            AND v.deleted_at IS NULL  -- when: with_total; unless: include_deleted
            AND v.provider = :provider::text  -- when: with_total; filter: provider
            AND v.status = :status::text  -- when: with_total; filter: status
            AND v.is_active  -- when: with_total; when: active
            AND NOT v.is_active  -- when: with_total; when: not_active
            AND v.quality_score >= :quality_from::double precision  -- when: with_total; filter: quality_from
            AND v.quality_score <= :quality_to::double precision  -- when: with_total; filter: quality_to
    ) AS total  -- when: with_total
FROM clonedb.voice_models AS v
WHERE v.user_id = :user_id::uuid
    AND v.deleted_at IS NULL  -- unless: include_deleted
    AND v.provider = :provider::text  -- filter: provider
    AND v.status = :status::text  -- filter: status
    AND v.is_active  -- when: active
    AND NOT v.is_active  -- when: not_active
    AND v.quality_score >= :quality_from::double precision  -- filter: quality_from
    AND v.quality_score <= :quality_to::double precision  -- filter: quality_to
    AND (v.created_at, v.id) < (:after_created_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (v.created_at, v.id) > (:after_created_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY v.created_at DESC, v.id DESC  -- order: newest
ORDER BY v.created_at ASC, v.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: hard_delete(user_id, id, deleted_before)$
-- Removes a model, living or deleted, and takes it off the sessions that refer to it.
-- Sessions are locked before the model, as a call that gives a session a model does.
WITH referring AS (
    SELECT s.id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.voice_model_id = :id::uuid
        AND EXISTS (  -- filter: deleted_before
            SELECT  -- filter: deleted_before
            FROM clonedb.voice_models AS v  -- filter: deleted_before
            WHERE v.user_id = :user_id::uuid  -- filter: deleted_before
                AND v.id = :id::uuid  -- filter: deleted_before
                AND v.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        )  -- filter: deleted_before
    ORDER BY s.id
    FOR NO KEY UPDATE
),
cleared AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        voice_model_id = NULL,
        updated_at = statement_timestamp()
    FROM referring
    WHERE s.user_id = :user_id::uuid
        AND s.id = referring.id
        AND s.voice_model_id = :id::uuid
    RETURNING s.id
),
changed AS (
    DELETE FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
        AND v.id = :id::uuid
        AND v.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        -- Counting them locks and clears the sessions first.
        AND (SELECT count(*) FROM cleared) >= 0
    RETURNING v.id
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
        'voice_model.erase',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT changed.id
FROM changed;

-- name: restore(user_id, id)^
-- Brings a deleted model; one that is not deleted stays as it is.
WITH locked AS (
    SELECT
        v.id,
        v.deleted_at
    FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
        AND v.id = :id::uuid
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.voice_models AS v
    SET
        deleted_at = NULL,
        updated_at = CASE WHEN v.deleted_at IS NULL THEN v.updated_at ELSE statement_timestamp() END
    FROM locked
    WHERE v.user_id = :user_id::uuid
        AND v.id = locked.id
    RETURNING
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at
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
        'voice_model.restore',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN locked ON locked.id = changed.id
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE locked.deleted_at IS NOT NULL
)
SELECT
    changed.id,
    changed.provider,
    changed.model_path,
    changed.sample_rate,
    changed.quality_score,
    changed.status,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update(user_id, id, fields, provider, model_path, sample_rate, quality_score, status, metadata)^
-- Changes the named fields of a living model.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET
        provider = CASE
            WHEN 'provider' = ANY(:fields::text[]) THEN :provider::text
            ELSE v.provider
        END,
        model_path = CASE
            WHEN 'model_path' = ANY(:fields::text[]) THEN :model_path::text
            ELSE v.model_path
        END,
        sample_rate = CASE
            WHEN 'sample_rate' = ANY(:fields::text[]) THEN :sample_rate::bigint
            ELSE v.sample_rate
        END,
        quality_score = CASE
            WHEN 'quality_score' = ANY(:fields::text[]) THEN :quality_score::double precision
            ELSE v.quality_score
        END,
        status = CASE
            WHEN 'status' = ANY(:fields::text[]) THEN :status::text
            ELSE v.status
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE v.metadata
        END,
        updated_at = statement_timestamp()
    WHERE v.user_id = :user_id::uuid
        AND v.id = :id::uuid
        AND v.deleted_at IS NULL
    RETURNING
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at
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
        'voice_model.update',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    changed.id,
    changed.provider,
    changed.model_path,
    changed.sample_rate,
    changed.quality_score,
    changed.status,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update_many(user_id, ids, fields, provider, model_path, sample_rate, quality_score, status, metadata)
-- Changes the named fields of several living models to the same values.
WITH chosen AS (
    SELECT v.id
    FROM clonedb.voice_models AS v
    WHERE v.user_id = :user_id::uuid
        AND v.id = ANY(:ids::uuid[])
        AND v.deleted_at IS NULL
    ORDER BY v.id
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.voice_models AS v
    SET
        provider = CASE
            WHEN 'provider' = ANY(:fields::text[]) THEN :provider::text
            ELSE v.provider
        END,
        model_path = CASE
            WHEN 'model_path' = ANY(:fields::text[]) THEN :model_path::text
            ELSE v.model_path
        END,
        sample_rate = CASE
            WHEN 'sample_rate' = ANY(:fields::text[]) THEN :sample_rate::bigint
            ELSE v.sample_rate
        END,
        quality_score = CASE
            WHEN 'quality_score' = ANY(:fields::text[]) THEN :quality_score::double precision
            ELSE v.quality_score
        END,
        status = CASE
            WHEN 'status' = ANY(:fields::text[]) THEN :status::text
            ELSE v.status
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE v.metadata
        END,
        updated_at = statement_timestamp()
    FROM chosen
    WHERE v.user_id = :user_id::uuid
        AND v.id = chosen.id
    RETURNING
        v.id,
        v.provider,
        v.model_path,
        v.sample_rate,
        v.quality_score,
        v.status,
        v.is_active,
        v.metadata,
        v.created_at,
        v.updated_at,
        v.deleted_at
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
        'voice_model.update',
        'voice_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['audio_chunk']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    changed.id,
    changed.provider,
    changed.model_path,
    changed.sample_rate,
    changed.quality_score,
    changed.status,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;
