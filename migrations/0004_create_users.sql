-- Creates the users, and the functions that say on whose behalf a statement runs.
-- depends: 0003_create_id_functions
-- why: everything else belongs to a user.
-- phase: before deploy
-- locks: none
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.users (
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    email text NOT NULL,
    email_key text NOT NULL GENERATED ALWAYS AS (lower(email)) STORED,
    name text,
    personality_traits text[] NOT NULL DEFAULT '{}',
    speaking_style text,
    preferred_llm_provider text NOT NULL DEFAULT 'gpt-4-turbo',
    preferred_tts_provider text NOT NULL DEFAULT 'xtts-v2',
    subscription_tier text NOT NULL DEFAULT 'free',
    conversation_minutes_used numeric(12, 3) NOT NULL DEFAULT 0,
    settings jsonb NOT NULL DEFAULT '{}',
    subject_ref uuid NOT NULL DEFAULT gen_random_uuid(),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT users_pkey PRIMARY KEY (id),
    CONSTRAINT users_subject_ref_is_unique UNIQUE (subject_ref),
    CONSTRAINT users_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT users_email_is_plausible CHECK (
        char_length(email) BETWEEN 3 AND 320
        AND email ~ '^[^@[:space:]]+@[^@[:space:]]+$'
    ),
    CONSTRAINT users_name_is_short CHECK (char_length(name) BETWEEN 1 AND 200),
    CONSTRAINT users_personality_traits_are_few CHECK (
        cardinality(personality_traits) <= 100
        AND pg_column_size(personality_traits) <= 65536
    ),
    CONSTRAINT users_personality_traits_are_given CHECK (
        array_position(personality_traits, NULL) IS NULL
    ),
    CONSTRAINT users_speaking_style_is_short CHECK (char_length(speaking_style) <= 2000),
    CONSTRAINT users_preferred_llm_provider_is_known CHECK (
        preferred_llm_provider IN (
            'gpt-4-turbo', 'gpt-3.5-turbo', 'claude-3-opus', 'claude-3-sonnet', 'llama-3-70b'
        )
    ),
    CONSTRAINT users_preferred_tts_provider_is_known CHECK (
        preferred_tts_provider IN ('xtts-v2', 'google-cloud-tts', 'openai-tts')
    ),
    CONSTRAINT users_subscription_tier_is_known CHECK (
        subscription_tier IN ('free', 'pro', 'enterprise')
    ),
    -- NaN is above every number to PostgreSQL, hence refused by name.
    CONSTRAINT users_conversation_minutes_used_is_not_negative CHECK (
        conversation_minutes_used >= 0 AND conversation_minutes_used <> 'NaN'
    ),
    CONSTRAINT users_settings_is_an_object CHECK (jsonb_typeof(settings) = 'object'),
    CONSTRAINT users_settings_is_small CHECK (octet_length(settings::text) <= 65536)
) WITH (fillfactor = 90);

COMMENT ON TABLE clonedb.users IS
'The people who talk with their clone. A reference table when sharded.';
COMMENT ON COLUMN clonedb.users.id IS 'UUIDv7, made by the database or brought by the caller.';
COMMENT ON COLUMN clonedb.users.email IS 'The address as the person wrote it.';
COMMENT ON COLUMN clonedb.users.email_key IS
'The address in lower case: what is unique among the living and what a login is found by.';
COMMENT ON COLUMN clonedb.users.name IS 'What the person is called, 1 to 200 characters.';
COMMENT ON COLUMN clonedb.users.personality_traits IS
'Words for the character that the clone shows, at most 100.';
COMMENT ON COLUMN clonedb.users.speaking_style IS
'How the clone speaks, in words, at most 2,000 characters.';
COMMENT ON COLUMN clonedb.users.preferred_llm_provider IS
'The language model that answers unless a session says otherwise.';
COMMENT ON COLUMN clonedb.users.preferred_tts_provider IS
'The speech synthesis that speaks unless a session says otherwise.';
COMMENT ON COLUMN clonedb.users.subscription_tier IS
'free, pro or enterprise; changed by the worker login alone.';
COMMENT ON COLUMN clonedb.users.conversation_minutes_used IS
'Minutes of conversation so far, to the thousandth.';
COMMENT ON COLUMN clonedb.users.settings IS
'The person''s settings, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.users.subject_ref IS
'A random number that stands for the person in the audit log; it dies with this row.';
COMMENT ON COLUMN clonedb.users.created_at IS 'When the person signed up.';
COMMENT ON COLUMN clonedb.users.updated_at IS 'When the row last changed.';
COMMENT ON COLUMN clonedb.users.deleted_at IS
'When the person was deleted (softly), NULL while living; what they own bears the same stamp.';

CREATE UNIQUE INDEX users_email_key_living ON clonedb.users (email_key) WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.users_email_key_living IS
'One living user for an address; a deleted one does not stand in the way.';

CREATE INDEX users_living_newest ON clonedb.users (created_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.users_living_newest IS 'Pages of living users, newest first.';

CREATE INDEX users_deleted ON clonedb.users (deleted_at, id) WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX clonedb.users_deleted IS 'Deleted users by the time of their deletion.';

CREATE FUNCTION clonedb.current_user_id() RETURNS uuid
LANGUAGE sql
STABLE
PARALLEL SAFE
-- A connection that had a context before holds an empty string, not NULL.
RETURN nullif(current_setting('clonedb.user_id', true), '')::uuid;

COMMENT ON FUNCTION clonedb.current_user_id() IS
'The user that the statement''s context names (setting clonedb.user_id), or NULL.';

-- PL/pgSQL, because a definer function in SQL is planned anew by every statement before 18 (27 µs
-- against 7), and each statement of the app calls this once.
CREATE FUNCTION clonedb.living_user_id() RETURNS uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT u.id
        FROM clonedb.users AS u
        WHERE u.id = clonedb.current_user_id()
            AND u.deleted_at IS NULL
    );
END
$$;

COMMENT ON FUNCTION clonedb.living_user_id() IS
'The context''s user if that user exists and is not deleted, else NULL. What app policies ask.';

CREATE FUNCTION clonedb.living_subject_ref() RETURNS uuid
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (
        SELECT u.subject_ref
        FROM clonedb.users AS u
        WHERE u.id = clonedb.current_user_id()
            AND u.deleted_at IS NULL
    );
END
$$;

COMMENT ON FUNCTION clonedb.living_subject_ref() IS
'What stands for the context''s living user in the audit log, or NULL.';

GRANT EXECUTE ON FUNCTION
clonedb.current_user_id(),
clonedb.living_user_id(),
clonedb.living_subject_ref()
TO clonedb_app, clonedb_worker, clonedb_dba;
