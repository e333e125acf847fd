-- Creates the voice models of users.
-- depends: 0006_create_sign_up
-- why: a clone speaks with a voice that was trained for its user; at most one is in use.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.voice_models (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    provider text NOT NULL,
    model_path text NOT NULL,
    sample_rate integer NOT NULL,
    quality_score double precision,
    status text NOT NULL DEFAULT 'pending',
    is_active boolean NOT NULL DEFAULT false,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT voice_models_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT voice_models_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT voice_models_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT voice_models_provider_is_known CHECK (
        provider IN ('xtts-v2', 'google-cloud-tts', 'openai-tts')
    ),
    CONSTRAINT voice_models_model_path_is_short CHECK (char_length(model_path) BETWEEN 1 AND 1024),
    -- From telephone speech to the highest rate that sound cards offer.
    CONSTRAINT voice_models_sample_rate_is_plausible CHECK (sample_rate BETWEEN 8000 AND 384000),
    CONSTRAINT voice_models_quality_score_is_a_share CHECK (quality_score BETWEEN 0 AND 1),
    CONSTRAINT voice_models_status_is_known CHECK (
        status IN ('pending', 'training', 'completed', 'failed')
    ),
    CONSTRAINT voice_models_metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT voice_models_metadata_is_small CHECK (octet_length(metadata::text) <= 65536)
);

COMMENT ON TABLE clonedb.voice_models IS 'Voices trained for users; at most one is active.';
COMMENT ON COLUMN clonedb.voice_models.user_id IS 'The user whose voice it is.';
COMMENT ON COLUMN clonedb.voice_models.id IS 'UUIDv7, made by the database or by the caller.';
COMMENT ON COLUMN clonedb.voice_models.provider IS 'The speech synthesis that the model is for.';
COMMENT ON COLUMN clonedb.voice_models.model_path IS 'Where the model''s file is stored.';
COMMENT ON COLUMN clonedb.voice_models.sample_rate IS 'Samples of audio per second (Hz).';
COMMENT ON COLUMN clonedb.voice_models.quality_score IS
'How good the voice is, 0 to 1; NULL until it was judged.';
COMMENT ON COLUMN clonedb.voice_models.status IS
'Of the training: pending, training, completed or failed.';
COMMENT ON COLUMN clonedb.voice_models.is_active IS
'Whether new sessions use it; true for at most one living model of a user.';
COMMENT ON COLUMN clonedb.voice_models.metadata IS
'What else the trainer reports, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.voice_models.created_at IS 'When the model was registered.';
COMMENT ON COLUMN clonedb.voice_models.updated_at IS 'When the row last changed.';
COMMENT ON COLUMN clonedb.voice_models.deleted_at IS
'When it was deleted (softly), NULL while living.';

CREATE UNIQUE INDEX voice_models_one_active ON clonedb.voice_models (user_id, is_active)
WHERE is_active AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.voice_models_one_active IS 'One active living model for a user.';

CREATE INDEX voice_models_living_newest
ON clonedb.voice_models (user_id, created_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.voice_models_living_newest IS
'Pages of a user''s living models, newest first.';

CREATE INDEX voice_models_status ON clonedb.voice_models (status, created_at, user_id, id)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.voice_models_status IS
'Models in a state of training, oldest first, across users.';

CREATE INDEX voice_models_deleted ON clonedb.voice_models (deleted_at, user_id)
WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX clonedb.voice_models_deleted IS
'Deleted models by their stamp: to restore with their user, and to purge.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.voice_models');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.voice_models
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT SELECT (
    user_id,
    id,
    provider,
    sample_rate,
    quality_score,
    status,
    is_active,
    created_at,
    updated_at,
    deleted_at
) ON clonedb.voice_models TO clonedb_readonly;
