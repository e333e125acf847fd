-- Creates the face models of users.
-- depends: 0007_create_voice_models
-- why: a clone shows a face that was made for its user; at most one is in use.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.face_models (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    model_path text NOT NULL,
    resolution jsonb NOT NULL,
    quality_score double precision,
    is_active boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT face_models_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT face_models_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT face_models_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT face_models_model_path_is_short CHECK (char_length(model_path) BETWEEN 1 AND 1024),
    -- 16,384 is the largest side that graphics hardware commonly takes.
    CONSTRAINT face_models_resolution_is_plausible CHECK (
        jsonb_typeof(resolution) = 'object'
        AND resolution - '{width,height}'::text[] = '{}'
        AND jsonb_path_exists(
            resolution,
            '$ ? (@.width >= 1 && @.width <= 16384 && @.width.floor() == @.width
                && @.height >= 1 && @.height <= 16384 && @.height.floor() == @.height)'
        )
    ),
    CONSTRAINT face_models_quality_score_is_a_share CHECK (quality_score BETWEEN 0 AND 1),
    CONSTRAINT face_models_metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT face_models_metadata_is_small CHECK (octet_length(metadata::text) <= 65536)
);

COMMENT ON TABLE clonedb.face_models IS 'Faces made for users; at most one is active.';
COMMENT ON COLUMN clonedb.face_models.user_id IS 'The user whose face it is.';
COMMENT ON COLUMN clonedb.face_models.id IS 'UUIDv7, made by the database or by the caller.';
COMMENT ON COLUMN clonedb.face_models.model_path IS 'Where the model''s file is stored.';
COMMENT ON COLUMN clonedb.face_models.resolution IS
'{"width": pixels, "height": pixels}, whole numbers from 1 to 16,384, and nothing else.';
COMMENT ON COLUMN clonedb.face_models.quality_score IS
'How good the face is, 0 to 1; NULL until it was judged.';
COMMENT ON COLUMN clonedb.face_models.is_active IS
'Whether new sessions use it; true for at most one living model of a user.';
COMMENT ON COLUMN clonedb.face_models.metadata IS
'What else its maker reports, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.face_models.created_at IS 'When the model was registered.';
COMMENT ON COLUMN clonedb.face_models.updated_at IS 'When the row last changed.';
COMMENT ON COLUMN clonedb.face_models.deleted_at IS
'When it was deleted (softly), NULL while living.';

CREATE UNIQUE INDEX face_models_one_active ON clonedb.face_models (user_id, is_active)
WHERE is_active AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.face_models_one_active IS 'One active living model for a user.';

CREATE INDEX face_models_living_newest
ON clonedb.face_models (user_id, created_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.face_models_living_newest IS
'Pages of a user''s living models, newest first.';

CREATE INDEX face_models_deleted ON clonedb.face_models (deleted_at, user_id)
WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX clonedb.face_models_deleted IS
'Deleted models by their stamp: to restore with their user, and to purge.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.face_models');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.face_models
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT SELECT (
    user_id,
    id,
    resolution,
    quality_score,
    is_active,
    created_at,
    updated_at,
    deleted_at
) ON clonedb.face_models TO clonedb_readonly;
