-- Creates the rows of large objects, of uploads under way, and of what is to be deleted in the store.
-- depends: 0023_create_cache_changes
-- why: files of models and documents lie in an object store, which knows no transactions. The row is
--   the truth: an object exists where its row is, and the row is written when the object is whole.
--   Whatever lies in the store without a row has one here that says when it goes.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the tables with every row in them; what lies in the store stays there
--
--   object_uploads --- kept ---> stored_objects --- deleted, replaced, user gone ---> object_deletions
--        |                                                                                  ^
--        +------------------------------- given up, too late -------------------------------+
--
-- A key is random and says nothing about anybody: it stays in the store's logs, and in
-- object_deletions, when the person has long been forgotten.

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.stored_objects (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    owner_id uuid GENERATED ALWAYS AS (
        nullif(user_id, '00000000-0000-0000-0000-000000000000'::uuid)
    ) STORED,
    kind text NOT NULL,
    name text NOT NULL,
    object_key text NOT NULL,
    previous_key text,
    size_bytes bigint NOT NULL,
    sha256 bytea NOT NULL,
    content_type text NOT NULL,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stored_objects_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT stored_objects_name_is_unique UNIQUE (user_id, kind, name),
    -- RESTRICT: a cascade would drop the row, and with it the key, and the object would lie in the
    -- store for ever. Whoever deletes a user moves the keys first, as users.hard_delete does.
    CONSTRAINT stored_objects_owner_exists FOREIGN KEY (owner_id)
    REFERENCES clonedb.users (id) ON DELETE RESTRICT,
    CONSTRAINT stored_objects_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT stored_objects_kind_is_known CHECK (
        kind IN ('voice_model', 'face_model', 'document')
    ),
    -- One part of a path, which callers may use as the name of a file.
    CONSTRAINT stored_objects_name_is_plain CHECK (
        char_length(name) BETWEEN 1 AND 200
        AND name !~ '[/\\[:cntrl:]]'
        AND name NOT IN ('.', '..')
    ),
    CONSTRAINT stored_objects_object_key_is_random CHECK (
        object_key ~ '^[0-9a-f]{2}/[0-9a-f]{32}$'
    ),
    -- 8 MiB in each of the 10,000 parts that an upload to S3 may have, rounded down.
    CONSTRAINT stored_objects_size_bytes_is_plausible CHECK (
        size_bytes BETWEEN 0 AND 68719476736
    ),
    CONSTRAINT stored_objects_sha256_is_a_digest CHECK (octet_length(sha256) = 32),
    CONSTRAINT stored_objects_content_type_is_short CHECK (
        char_length(content_type) BETWEEN 1 AND 200 AND content_type !~ '[[:cntrl:]]'
    ),
    CONSTRAINT stored_objects_metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT stored_objects_metadata_is_small CHECK (octet_length(metadata::text) <= 65536)
);

COMMENT ON TABLE clonedb.stored_objects IS
'Large objects in the object store: files of voice and face models, and processed documents.';
COMMENT ON COLUMN clonedb.stored_objects.user_id IS
'Whose it is; the nil UUID for what everybody may read.';
COMMENT ON COLUMN clonedb.stored_objects.id IS
'UUIDv7, made by the database; it stays when the object is replaced.';
COMMENT ON COLUMN clonedb.stored_objects.owner_id IS
'user_id, or NULL for what everybody may read: what the foreign key needs.';
COMMENT ON COLUMN clonedb.stored_objects.kind IS 'voice_model, face_model or document.';
COMMENT ON COLUMN clonedb.stored_objects.name IS
'What the user''s object of this kind is called: 1 to 200 characters, no slash, no control character.';
COMMENT ON COLUMN clonedb.stored_objects.object_key IS
'Where it lies in the store: random, of one upload, never written twice.';
COMMENT ON COLUMN clonedb.stored_objects.previous_key IS
'The key before it was replaced last, which the replacing statement gave to object_deletions.';
COMMENT ON COLUMN clonedb.stored_objects.size_bytes IS 'Its length in bytes, at most 64 GiB.';
COMMENT ON COLUMN clonedb.stored_objects.sha256 IS 'SHA-256 of its bytes.';
COMMENT ON COLUMN clonedb.stored_objects.content_type IS 'The media type, such as audio/wav.';
COMMENT ON COLUMN clonedb.stored_objects.metadata IS
'What else is to be remembered of it, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.stored_objects.created_at IS 'When it was first stored.';
COMMENT ON COLUMN clonedb.stored_objects.updated_at IS 'When it was stored or replaced last.';

CREATE INDEX stored_objects_owner ON clonedb.stored_objects (owner_id);
COMMENT ON INDEX clonedb.stored_objects_owner IS 'Objects of a user who is to be deleted.';

CREATE INDEX stored_objects_key ON clonedb.stored_objects (object_key);
COMMENT ON INDEX clonedb.stored_objects_key IS
'Whether an object in the store is in use. Not unique: that would tell others which keys exist.';

CREATE INDEX stored_objects_newest ON clonedb.stored_objects (user_id, created_at DESC, id DESC);
COMMENT ON INDEX clonedb.stored_objects_newest IS 'Pages of a user''s objects, newest first.';

CREATE TABLE clonedb.object_uploads (
    user_id uuid NOT NULL,
    object_key text NOT NULL,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT object_uploads_pkey PRIMARY KEY (user_id, object_key),
    CONSTRAINT object_uploads_object_key_is_random CHECK (
        object_key ~ '^[0-9a-f]{2}/[0-9a-f]{32}$'
    )
);

COMMENT ON TABLE clonedb.object_uploads IS
'Uploads under way: written before the first byte, gone when the object is kept or given up.';
COMMENT ON COLUMN clonedb.object_uploads.user_id IS
'Who uploads; the nil UUID for what everybody may read. No foreign key: the row ends by itself.';
COMMENT ON COLUMN clonedb.object_uploads.object_key IS 'Where the object will lie in the store.';
COMMENT ON COLUMN clonedb.object_uploads.expires_at IS
'When an upload that was not kept counts as given up, and its key goes to object_deletions.';
COMMENT ON COLUMN clonedb.object_uploads.created_at IS 'When it began.';

CREATE INDEX object_uploads_expiry ON clonedb.object_uploads (expires_at);
COMMENT ON INDEX clonedb.object_uploads_expiry IS 'Uploads that were given up, oldest first.';

CREATE INDEX object_uploads_key ON clonedb.object_uploads (object_key);
COMMENT ON INDEX clonedb.object_uploads_key IS 'Whether an object in the store is in use.';

CREATE TABLE clonedb.object_deletions (
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    object_key text NOT NULL,
    due_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    last_error text,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT object_deletions_pkey PRIMARY KEY (id),
    CONSTRAINT object_deletions_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT object_deletions_object_key_is_random CHECK (
        object_key ~ '^[0-9a-f]{2}/[0-9a-f]{32}$'
    ),
    CONSTRAINT object_deletions_attempts_is_not_negative CHECK (attempts >= 0),
    CONSTRAINT object_deletions_last_error_is_short CHECK (char_length(last_error) <= 4000)
);

COMMENT ON TABLE clonedb.object_deletions IS
'Objects that no row owns any more and that are still to be deleted in the store. Nothing personal.';
COMMENT ON COLUMN clonedb.object_deletions.id IS 'UUIDv7, made by the database.';
COMMENT ON COLUMN clonedb.object_deletions.object_key IS 'Where the object lies in the store.';
COMMENT ON COLUMN clonedb.object_deletions.due_at IS
'When it is to be tried next; in the future while a worker is at it, and after a failure.';
COMMENT ON COLUMN clonedb.object_deletions.attempts IS 'How often it was tried.';
COMMENT ON COLUMN clonedb.object_deletions.last_error IS
'Why the last attempt failed, as the store says; NULL if none has.';
COMMENT ON COLUMN clonedb.object_deletions.created_at IS 'When the object lost its row.';

CREATE INDEX object_deletions_due ON clonedb.object_deletions (due_at, id);
COMMENT ON INDEX clonedb.object_deletions_due IS 'What is to be deleted next.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.stored_objects', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.object_uploads');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.stored_objects
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT SELECT (user_id, id, kind, size_bytes, created_at, updated_at)
ON clonedb.stored_objects TO clonedb_readonly;

GRANT SELECT, INSERT, DELETE ON clonedb.object_uploads TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.object_uploads TO clonedb_worker, clonedb_dba;
GRANT SELECT (user_id, expires_at, created_at) ON clonedb.object_uploads TO clonedb_readonly;

-- The app adds and neither reads nor removes: what is added is deleted in the store only where no
-- row refers to it.
GRANT INSERT (object_key, due_at) ON clonedb.object_deletions TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.object_deletions TO clonedb_worker, clonedb_dba;
GRANT SELECT ON clonedb.object_deletions TO clonedb_backup;
GRANT SELECT (id, due_at, attempts, created_at) ON clonedb.object_deletions TO clonedb_readonly;
