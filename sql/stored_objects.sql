-- Stored objects: what a user has in the object store, and the uploads that become such.
--
-- In the scope of the login itself the user is the nil UUID, whose objects everybody may read. What a
-- deleted user has is hidden as long as they are: nothing of it is stamped.

-- name: begin_upload(user_id, object_key, keep_seconds)$
-- Writes down that an object is about to be written, so that it is found if nobody keeps it.
INSERT INTO clonedb.object_uploads AS u (user_id, object_key, expires_at)
SELECT
    :user_id::uuid,
    :object_key::text,
    statement_timestamp() + make_interval(secs => :keep_seconds::double precision)
WHERE :user_id::uuid = '00000000-0000-0000-0000-000000000000'
    OR EXISTS (
        SELECT
        FROM clonedb.users AS living
        WHERE living.id = :user_id::uuid
            AND living.deleted_at IS NULL
    )
RETURNING u.expires_at;

-- name: count(user_id, kind)$
-- How many objects a user has.
SELECT count(*)
FROM clonedb.stored_objects AS o
WHERE o.user_id = :user_id::uuid
    AND o.kind = :kind::text  -- filter: kind
    AND (
        o.owner_id IS NULL
        OR EXISTS (
            SELECT
            FROM clonedb.users AS living
            WHERE living.id = :user_id::uuid
                AND living.deleted_at IS NULL
        )
    );

-- name: delete(user_id, kind, name)$
-- Removes an object, whose key is to be deleted in the store from now on.
WITH removed AS (
    DELETE FROM clonedb.stored_objects AS o
    WHERE o.user_id = :user_id::uuid
        AND o.kind = :kind::text
        AND o.name = :name::text
    RETURNING
        o.id,
        o.object_key
),
left_behind AS (
    INSERT INTO clonedb.object_deletions (object_key)
    SELECT removed.object_key
    FROM removed
)
SELECT removed.id
FROM removed;

-- name: exists(user_id, kind, name)$
-- Whether a user has the object.
SELECT EXISTS (
    SELECT
    FROM clonedb.stored_objects AS o
    WHERE o.user_id = :user_id::uuid
        AND o.kind = :kind::text
        AND o.name = :name::text
        AND (
            o.owner_id IS NULL
            OR EXISTS (
                SELECT
                FROM clonedb.users AS living
                WHERE living.id = :user_id::uuid
                    AND living.deleted_at IS NULL
            )
        )
);

-- name: find(user_id, kind, name)^
-- One object.
SELECT
    o.id,
    o.kind,
    o.name,
    o.object_key,
    o.size_bytes,
    o.sha256,
    o.content_type,
    o.metadata,
    o.created_at,
    o.updated_at
FROM clonedb.stored_objects AS o
WHERE o.user_id = :user_id::uuid
    AND o.kind = :kind::text
    AND o.name = :name::text
    AND (
        o.owner_id IS NULL
        OR EXISTS (
            SELECT
            FROM clonedb.users AS living
            WHERE living.id = :user_id::uuid
                AND living.deleted_at IS NULL
        )
    );

-- name: find_many(user_id, kind, after_created_at, after_id, limit)
-- One page of a user's objects.
SELECT
    o.id,
    o.kind,
    o.name,
    o.object_key,
    o.size_bytes,
    o.sha256,
    o.content_type,
    o.metadata,
    o.created_at,
    o.updated_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.stored_objects AS o  -- when: with_total
        WHERE o.user_id = :user_id::uuid  -- when: with_total
            AND o.kind = :kind::text  -- when: with_total; filter: kind
    ) AS total  -- when: with_total
FROM clonedb.stored_objects AS o
WHERE o.user_id = :user_id::uuid
    AND o.kind = :kind::text  -- filter: kind
    AND (
        o.owner_id IS NULL
        OR EXISTS (
            SELECT
            FROM clonedb.users AS living
            WHERE living.id = :user_id::uuid
                AND living.deleted_at IS NULL
        )
    )
    AND (o.created_at, o.id) < (:after_created_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (o.created_at, o.id) > (:after_created_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY o.created_at DESC, o.id DESC  -- order: newest
ORDER BY o.created_at ASC, o.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: give_up_upload(user_id, object_key)$
-- Ends an upload that is not kept; whatever of it lies in the store is to be deleted from now on.
WITH upload AS (
    DELETE FROM clonedb.object_uploads AS u
    WHERE u.user_id = :user_id::uuid
        AND u.object_key = :object_key::text
    RETURNING u.object_key
),
left_behind AS (
    INSERT INTO clonedb.object_deletions (object_key)
    SELECT upload.object_key
    FROM upload
)
SELECT upload.object_key
FROM upload;

-- name: keep(user_id, object_key, kind, name, size_bytes, sha256, content_type, metadata)^
-- Makes an upload that has ended the user's object of that name, in the place of the one before.
-- Whoever keeps an upload takes its row, so it is kept once, and not after it was given up. The key
-- that is replaced is the one in the row as locked, so of several at once each hands on another's.
WITH upload AS (
    DELETE FROM clonedb.object_uploads AS u
    WHERE u.user_id = :user_id::uuid
        AND u.object_key = :object_key::text
        AND (
            u.user_id = '00000000-0000-0000-0000-000000000000'
            OR EXISTS (
                SELECT
                FROM clonedb.users AS living
                WHERE living.id = :user_id::uuid
                    AND living.deleted_at IS NULL
            )
        )
    RETURNING u.object_key
),
stored AS (
    INSERT INTO clonedb.stored_objects AS o (
        user_id,
        kind,
        name,
        object_key,
        size_bytes,
        sha256,
        content_type,
        metadata
    )
    SELECT
        :user_id::uuid,
        :kind::text,
        :name::text,
        upload.object_key,
        :size_bytes::bigint,
        :sha256::bytea,
        :content_type::text,
        :metadata::jsonb
    FROM upload
    ON CONFLICT (user_id, kind, name) DO UPDATE
    SET
        previous_key = o.object_key,
        object_key = excluded.object_key,
        size_bytes = excluded.size_bytes,
        sha256 = excluded.sha256,
        content_type = excluded.content_type,
        metadata = excluded.metadata,
        updated_at = statement_timestamp()
    RETURNING
        o.id,
        o.kind,
        o.name,
        o.object_key,
        o.previous_key,
        o.size_bytes,
        o.sha256,
        o.content_type,
        o.metadata,
        o.created_at,
        o.updated_at
),
left_behind AS (
    INSERT INTO clonedb.object_deletions (object_key)
    SELECT stored.previous_key
    FROM stored
    WHERE stored.previous_key IS NOT NULL
)
SELECT
    stored.id,
    stored.kind,
    stored.name,
    stored.object_key,
    stored.size_bytes,
    stored.sha256,
    stored.content_type,
    stored.metadata,
    stored.created_at,
    stored.updated_at
FROM stored;
