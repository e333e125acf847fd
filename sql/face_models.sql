-- Face models: the faces that were made for a user; at most one living one is active.

-- name: activate(user_id, id)^
-- Makes a living model the active one, and every other of the user's inactive.
-- All of them are locked first, in one order: whoever waits then decides on what is stored, and
-- the unique index never sees two. An unknown id changes nothing.
WITH locked AS (
    SELECT
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at
    FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.deleted_at IS NULL
    ORDER BY f.id
    FOR NO KEY UPDATE
),
wanted AS (
    SELECT
        locked.id,
        locked.model_path,
        locked.resolution,
        locked.quality_score,
        locked.is_active,
        locked.metadata,
        locked.created_at,
        locked.updated_at,
        locked.deleted_at
    FROM locked
    WHERE locked.id = :id::uuid
),
deactivated AS (
    UPDATE clonedb.face_models AS f
    SET
        is_active = false,
        updated_at = statement_timestamp()
    FROM locked, wanted
    WHERE f.user_id = :user_id::uuid
        AND f.id = locked.id
        AND locked.is_active
        AND locked.id <> wanted.id
    RETURNING f.id
),
activated AS (
    UPDATE clonedb.face_models AS f
    SET
        is_active = true,
        updated_at = statement_timestamp()
    FROM wanted
    WHERE f.user_id = :user_id::uuid
        AND f.id = wanted.id
        AND NOT wanted.is_active
        -- Counting them makes the others inactive first.
        AND (SELECT count(*) FROM deactivated) >= 0
    RETURNING
        f.id,
        f.is_active,
        f.updated_at
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
        'face_model.activate',
        'face_models/' || activated.id,
        'success'
    FROM activated
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT
    wanted.id,
    wanted.model_path,
    wanted.resolution,
    wanted.quality_score,
    coalesce(activated.is_active, wanted.is_active) AS is_active,
    wanted.metadata,
    wanted.created_at,
    coalesce(activated.updated_at, wanted.updated_at) AS updated_at,
    wanted.deleted_at
FROM wanted
LEFT JOIN activated ON true;

-- name: count(user_id, quality_from, quality_to)$
-- How many of a user's models match.
SELECT count(*)
FROM clonedb.face_models AS f
WHERE f.user_id = :user_id::uuid
    AND f.deleted_at IS NULL  -- unless: include_deleted
    AND f.is_active  -- when: active
    AND NOT f.is_active  -- when: not_active
    AND f.quality_score >= :quality_from::double precision  -- filter: quality_from
    AND f.quality_score <= :quality_to::double precision;  -- filter: quality_to

-- name: create(user_id, id, model_path, resolution, quality_score, metadata)^
-- Stores an inactive model, or returns the one already stored under the same id.
WITH stored AS (
    INSERT INTO clonedb.face_models AS f (
        user_id,
        id,
        model_path,
        resolution,
        quality_score,
        metadata
    )
    VALUES (
        :user_id::uuid,
        coalesce(:id::uuid, clonedb.uuid_v7()),
        :model_path::text,
        :resolution::jsonb,
        :quality_score::double precision,
        :metadata::jsonb
    )
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at,
        (f.xmax = 0) AS created
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
        'face_model.create',
        'face_models/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.model_path,
    stored.resolution,
    stored.quality_score,
    stored.is_active,
    stored.metadata,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: create_many(user_id, rows)
-- Stores many models from one array of JSON objects; those already stored come back as they are.
WITH stored AS (
    INSERT INTO clonedb.face_models AS f (
        user_id,
        id,
        model_path,
        resolution,
        quality_score,
        metadata
    )
    SELECT
        :user_id::uuid,
        coalesce(given.id, clonedb.uuid_v7()),
        given.model_path,
        given.resolution,
        given.quality_score,
        given.metadata
    FROM json_to_recordset(:rows::json) AS given (
        id uuid,
        model_path text,
        resolution jsonb,
        quality_score double precision,
        metadata jsonb
    )
    ORDER BY given.id
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at,
        (f.xmax = 0) AS created
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
        'face_model.create',
        'face_models/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
)
SELECT
    stored.id,
    stored.model_path,
    stored.resolution,
    stored.quality_score,
    stored.is_active,
    stored.metadata,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at
FROM stored;

-- name: deactivate(user_id)$
-- Leaves a user without an active model.
WITH changed AS (
    UPDATE clonedb.face_models AS f
    SET
        is_active = false,
        updated_at = statement_timestamp()
    WHERE f.user_id = :user_id::uuid
        AND f.is_active
        AND f.deleted_at IS NULL
    RETURNING f.id
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
        'face_model.deactivate',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.id
FROM changed;

-- name: delete(user_id, id)$
-- Hides a living model, which is active no more.
-- Restored as the active one it could stand beside another.
WITH changed AS (
    UPDATE clonedb.face_models AS f
    SET
        deleted_at = statement_timestamp(),
        updated_at = statement_timestamp(),
        is_active = false
    WHERE f.user_id = :user_id::uuid
        AND f.id = :id::uuid
        AND f.deleted_at IS NULL
    RETURNING
        f.deleted_at,
        f.id
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
        'face_model.delete',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.deleted_at
FROM changed;

-- name: exists(user_id, quality_from, quality_to)$
-- Whether any of a user's models matches.
SELECT EXISTS (
    SELECT
    FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.deleted_at IS NULL  -- unless: include_deleted
        AND f.is_active  -- when: active
        AND NOT f.is_active  -- when: not_active
        AND f.quality_score >= :quality_from::double precision  -- filter: quality_from
        AND f.quality_score <= :quality_to::double precision  -- filter: quality_to
);

-- name: find_active(user_id)^
-- The model that new sessions use.
-- plan: index face_models_one_active
-- rows <= 1
SELECT
    f.id,
    f.model_path,
    f.resolution,
    f.quality_score,
    f.is_active,
    f.metadata,
    f.created_at,
    f.updated_at,
    f.deleted_at
FROM clonedb.face_models AS f
WHERE f.user_id = :user_id::uuid
    AND f.is_active
    AND f.deleted_at IS NULL;

-- name: find_by_id(user_id, id)^
-- One model.
SELECT
    f.id,
    f.model_path,
    f.resolution,
    f.quality_score,
    f.is_active,
    f.metadata,
    f.created_at,
    f.updated_at,
    f.deleted_at
FROM clonedb.face_models AS f
WHERE f.user_id = :user_id::uuid
    AND f.id = :id::uuid
    AND f.deleted_at IS NULL;  -- unless: include_deleted

-- name: find_many(user_id, quality_from, quality_to, after_created_at, after_id, limit)
-- One page of a user's models.
SELECT
    f.id,
    f.model_path,
    f.resolution,
    f.quality_score,
    f.is_active,
    f.metadata,
    f.created_at,
    f.updated_at,
    f.deleted_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.face_models AS f  -- when: with_total
        WHERE f.user_id = :user_id::uuid  -- when: with_total
            AND f.deleted_at IS NULL  -- when: with_total; unless: include_deleted
            AND f.is_active  -- when: with_total; when: active
            AND NOT f.is_active  -- when: with_total; when: not_active
            AND f.quality_score >= :quality_from::double precision  -- when: with_total; filter: quality_from
            AND f.quality_score <= :quality_to::double precision  -- when: with_total; filter: quality_to
    ) AS total  -- when: with_total
FROM clonedb.face_models AS f
WHERE f.user_id = :user_id::uuid
    AND f.deleted_at IS NULL  -- unless: include_deleted
    AND f.is_active  -- when: active
    AND NOT f.is_active  -- when: not_active
    AND f.quality_score >= :quality_from::double precision  -- filter: quality_from
    AND f.quality_score <= :quality_to::double precision  -- filter: quality_to
    AND (f.created_at, f.id) < (:after_created_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (f.created_at, f.id) > (:after_created_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY f.created_at DESC, f.id DESC  -- order: newest
ORDER BY f.created_at ASC, f.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: hard_delete(user_id, id, deleted_before)$
-- Removes a model, living or deleted, and takes it off the sessions that refer to it.
-- Sessions are locked before the model, as a call that gives a session a model does.
WITH referring AS (
    SELECT s.id
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.face_model_id = :id::uuid
        AND EXISTS (  -- filter: deleted_before
            SELECT  -- filter: deleted_before
            FROM clonedb.face_models AS f  -- filter: deleted_before
            WHERE f.user_id = :user_id::uuid  -- filter: deleted_before
                AND f.id = :id::uuid  -- filter: deleted_before
                AND f.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        )  -- filter: deleted_before
    ORDER BY s.id
    FOR NO KEY UPDATE
),
cleared AS (
    UPDATE clonedb.conversation_sessions AS s
    SET
        face_model_id = NULL,
        updated_at = statement_timestamp()
    FROM referring
    WHERE s.user_id = :user_id::uuid
        AND s.id = referring.id
        AND s.face_model_id = :id::uuid
    RETURNING s.id
),
changed AS (
    DELETE FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.id = :id::uuid
        AND f.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        -- Counting them locks and clears the sessions first.
        AND (SELECT count(*) FROM cleared) >= 0
    RETURNING f.id
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
        'face_model.erase',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT changed.id
FROM changed;

-- name: restore(user_id, id)^
-- Brings a deleted model; one that is not deleted stays as it is.
WITH locked AS (
    SELECT
        f.id,
        f.deleted_at
    FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.id = :id::uuid
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.face_models AS f
    SET
        deleted_at = NULL,
        updated_at = CASE WHEN f.deleted_at IS NULL THEN f.updated_at ELSE statement_timestamp() END
    FROM locked
    WHERE f.user_id = :user_id::uuid
        AND f.id = locked.id
    RETURNING
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at
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
        'face_model.restore',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN locked ON locked.id = changed.id
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE locked.deleted_at IS NOT NULL
)
SELECT
    changed.id,
    changed.model_path,
    changed.resolution,
    changed.quality_score,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update(user_id, id, fields, model_path, resolution, quality_score, metadata)^
-- Changes the named fields of a living model.
WITH changed AS (
    UPDATE clonedb.face_models AS f
    SET
        model_path = CASE
            WHEN 'model_path' = ANY(:fields::text[]) THEN :model_path::text
            ELSE f.model_path
        END,
        resolution = CASE
            WHEN 'resolution' = ANY(:fields::text[]) THEN :resolution::jsonb
            ELSE f.resolution
        END,
        quality_score = CASE
            WHEN 'quality_score' = ANY(:fields::text[]) THEN :quality_score::double precision
            ELSE f.quality_score
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE f.metadata
        END,
        updated_at = statement_timestamp()
    WHERE f.user_id = :user_id::uuid
        AND f.id = :id::uuid
        AND f.deleted_at IS NULL
    RETURNING
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at
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
        'face_model.update',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT
    changed.id,
    changed.model_path,
    changed.resolution,
    changed.quality_score,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update_many(user_id, ids, fields, model_path, resolution, quality_score, metadata)
-- Changes the named fields of several living models to the same values.
WITH chosen AS (
    SELECT f.id
    FROM clonedb.face_models AS f
    WHERE f.user_id = :user_id::uuid
        AND f.id = ANY(:ids::uuid[])
        AND f.deleted_at IS NULL
    ORDER BY f.id
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.face_models AS f
    SET
        model_path = CASE
            WHEN 'model_path' = ANY(:fields::text[]) THEN :model_path::text
            ELSE f.model_path
        END,
        resolution = CASE
            WHEN 'resolution' = ANY(:fields::text[]) THEN :resolution::jsonb
            ELSE f.resolution
        END,
        quality_score = CASE
            WHEN 'quality_score' = ANY(:fields::text[]) THEN :quality_score::double precision
            ELSE f.quality_score
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE f.metadata
        END,
        updated_at = statement_timestamp()
    FROM chosen
    WHERE f.user_id = :user_id::uuid
        AND f.id = chosen.id
    RETURNING
        f.id,
        f.model_path,
        f.resolution,
        f.quality_score,
        f.is_active,
        f.metadata,
        f.created_at,
        f.updated_at,
        f.deleted_at
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
        'face_model.update',
        'face_models/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
)
SELECT
    changed.id,
    changed.model_path,
    changed.resolution,
    changed.quality_score,
    changed.is_active,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;
