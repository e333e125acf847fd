-- Creates the knowledge documents and their full-text column.
-- depends: 0012_create_conversation_turns
-- why: the clone answers from what its user gave it to read; workers claim, cut and index it.
-- phase: before deploy
-- locks: SHARE ROW EXCLUSIVE on users
-- rollback: drops the table with every row in it

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.document_search(p_language text, p_title text, p_text text)
RETURNS tsvector
LANGUAGE plpgsql
-- True as long as nobody alters PostgreSQL's own configurations; to_tsvector says the same.
IMMUTABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- Unknown is NULL, and left to the constraint on the language to refuse: it has a name.
    v_configuration regconfig := (
        SELECT c.oid
        FROM pg_ts_config AS c
        WHERE c.cfgname = p_language
            AND c.cfgnamespace = 'pg_catalog'::regnamespace
    );
BEGIN
    -- A tsvector holds 1 MB of words: 131,072 characters of text never exceeded it, 200,000 did.
    RETURN setweight(to_tsvector(v_configuration, coalesce(p_title, '')), 'A')
        || to_tsvector(v_configuration, left(coalesce(p_text, ''), 100000));
END
$$;

COMMENT ON FUNCTION clonedb.document_search(text, text, text) IS
'What a document is found by: the words of its title (weight A) and of the first 100,000 characters
of its text, as PostgreSQL''s text search configuration p_language has them.';

GRANT EXECUTE ON FUNCTION clonedb.document_search(text, text, text)
TO clonedb_app, clonedb_worker, clonedb_backup, clonedb_dba;

CREATE TABLE clonedb.knowledge_documents (
    user_id uuid NOT NULL,
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    filename text NOT NULL,
    content_type text NOT NULL,
    size_bytes bigint NOT NULL,
    title text,
    author text,
    source_url text,
    tags text[] NOT NULL DEFAULT '{}',
    language text NOT NULL DEFAULT 'simple',
    text_content text,
    chunk_count integer NOT NULL DEFAULT 0,
    status text NOT NULL DEFAULT 'pending',
    error_message text,
    claimed_at timestamptz,
    claimed_by text,
    lease_expires_at timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    storage_path text,
    vector_ids text[] NOT NULL DEFAULT '{}',
    uploaded_at timestamptz NOT NULL DEFAULT now(),
    processed_at timestamptz,
    metadata jsonb NOT NULL DEFAULT '{}',
    search tsvector
    GENERATED ALWAYS AS (clonedb.document_search(language, title, text_content)) STORED,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    CONSTRAINT knowledge_documents_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT knowledge_documents_user_exists FOREIGN KEY (user_id)
    REFERENCES clonedb.users (id) ON DELETE CASCADE,
    CONSTRAINT knowledge_documents_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT knowledge_documents_filename_is_short CHECK (
        char_length(filename) BETWEEN 1 AND 500
    ),
    CONSTRAINT knowledge_documents_content_type_is_short CHECK (
        char_length(content_type) BETWEEN 1 AND 255
    ),
    CONSTRAINT knowledge_documents_size_bytes_is_not_negative CHECK (size_bytes >= 0),
    CONSTRAINT knowledge_documents_title_is_short CHECK (char_length(title) <= 500),
    CONSTRAINT knowledge_documents_author_is_short CHECK (char_length(author) <= 500),
    CONSTRAINT knowledge_documents_source_url_is_short CHECK (char_length(source_url) <= 2048),
    CONSTRAINT knowledge_documents_tags_are_few CHECK (
        cardinality(tags) <= 100
        AND array_position(tags, NULL) IS NULL
        AND pg_column_size(tags) <= 65536
    ),
    -- PostgreSQL's own configurations, of 15 and later.
    CONSTRAINT knowledge_documents_language_is_known CHECK (
        language IN (
            'simple', 'arabic', 'armenian', 'basque', 'catalan', 'danish', 'dutch', 'english',
            'finnish', 'french', 'german', 'greek', 'hindi', 'hungarian', 'indonesian', 'irish',
            'italian', 'lithuanian', 'nepali', 'norwegian', 'portuguese', 'romanian', 'russian',
            'serbian', 'spanish', 'swedish', 'tamil', 'turkish', 'yiddish'
        )
    ),
    CONSTRAINT knowledge_documents_text_content_is_small CHECK (
        octet_length(text_content) <= 10485760
    ),
    CONSTRAINT knowledge_documents_chunk_count_is_not_negative CHECK (chunk_count >= 0),
    CONSTRAINT knowledge_documents_status_is_known CHECK (
        status IN ('pending', 'processing', 'completed', 'failed')
    ),
    CONSTRAINT knowledge_documents_error_message_is_short CHECK (
        char_length(error_message) <= 4000
    ),
    CONSTRAINT knowledge_documents_error_message_is_of_a_failure CHECK (
        error_message IS NULL OR status = 'failed'
    ),
    CONSTRAINT knowledge_documents_claim_is_whole CHECK (
        (claimed_at IS NULL) = (claimed_by IS NULL)
    ),
    CONSTRAINT knowledge_documents_claimed_by_is_short CHECK (
        char_length(claimed_by) BETWEEN 1 AND 200
    ),
    CONSTRAINT knowledge_documents_lease_is_of_a_claim CHECK (
        lease_expires_at IS NULL
        OR (status = 'processing' AND claimed_by IS NOT NULL AND isfinite(lease_expires_at))
    ),
    CONSTRAINT knowledge_documents_attempts_is_not_negative CHECK (attempts >= 0),
    CONSTRAINT knowledge_documents_storage_path_is_short CHECK (
        char_length(storage_path) BETWEEN 1 AND 1024
    ),
    CONSTRAINT knowledge_documents_vector_ids_are_given CHECK (
        cardinality(vector_ids) <= 100000
        AND array_position(vector_ids, NULL) IS NULL
    ),
    CONSTRAINT knowledge_documents_uploaded_at_is_finite CHECK (isfinite(uploaded_at)),
    CONSTRAINT knowledge_documents_processed_at_is_of_the_processed CHECK (
        (processed_at IS NULL OR status IN ('completed', 'failed'))
        AND (processed_at IS NOT NULL OR status <> 'completed')
    ),
    CONSTRAINT knowledge_documents_metadata_is_an_object CHECK (
        jsonb_typeof(metadata) = 'object'
    ),
    CONSTRAINT knowledge_documents_metadata_is_small CHECK (
        octet_length(metadata::text) <= 65536
    )
);

COMMENT ON TABLE clonedb.knowledge_documents IS
'What users gave their clone to read, and how far its processing is.';
COMMENT ON COLUMN clonedb.knowledge_documents.user_id IS 'The user who gave it.';
COMMENT ON COLUMN clonedb.knowledge_documents.id IS 'UUIDv7, made by the database or the caller.';
COMMENT ON COLUMN clonedb.knowledge_documents.filename IS 'The name of the uploaded file.';
COMMENT ON COLUMN clonedb.knowledge_documents.content_type IS 'The media type of the file.';
COMMENT ON COLUMN clonedb.knowledge_documents.size_bytes IS 'The size of the file, in bytes.';
COMMENT ON COLUMN clonedb.knowledge_documents.title IS 'The document''s title.';
COMMENT ON COLUMN clonedb.knowledge_documents.author IS 'Who wrote it.';
COMMENT ON COLUMN clonedb.knowledge_documents.source_url IS 'Where it came from.';
COMMENT ON COLUMN clonedb.knowledge_documents.tags IS 'The user''s tags, at most 100.';
COMMENT ON COLUMN clonedb.knowledge_documents.language IS
'The text search configuration that its words are found by; simple takes them as they are.';
COMMENT ON COLUMN clonedb.knowledge_documents.text_content IS
'The text that was extracted, at most 10 MiB; left out of lists.';
COMMENT ON COLUMN clonedb.knowledge_documents.chunk_count IS 'The pieces it was cut into.';
COMMENT ON COLUMN clonedb.knowledge_documents.status IS
'pending, processing, completed or failed.';
COMMENT ON COLUMN clonedb.knowledge_documents.error_message IS
'Why processing failed; NULL in any other state.';
COMMENT ON COLUMN clonedb.knowledge_documents.claimed_at IS
'When a worker took it; stays with the one that finished it.';
COMMENT ON COLUMN clonedb.knowledge_documents.claimed_by IS 'The worker that took it.';
COMMENT ON COLUMN clonedb.knowledge_documents.lease_expires_at IS
'When the claim ends by itself, and the document may be claimed again; NULL when not claimed.';
COMMENT ON COLUMN clonedb.knowledge_documents.attempts IS
'How often it was claimed. It only grows: with claimed_by it tells a claim from every later one.';
COMMENT ON COLUMN clonedb.knowledge_documents.storage_path IS 'Where the file is stored.';
COMMENT ON COLUMN clonedb.knowledge_documents.vector_ids IS
'The ids of its pieces in the vector index.';
COMMENT ON COLUMN clonedb.knowledge_documents.uploaded_at IS 'When the user gave it.';
COMMENT ON COLUMN clonedb.knowledge_documents.processed_at IS
'When it was completed, or failed at last.';
COMMENT ON COLUMN clonedb.knowledge_documents.metadata IS
'What else is known of it, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.knowledge_documents.search IS
'Its words for full-text search; see document_search().';
COMMENT ON COLUMN clonedb.knowledge_documents.created_at IS 'When the row was stored.';
COMMENT ON COLUMN clonedb.knowledge_documents.updated_at IS 'When the row last changed.';
COMMENT ON COLUMN clonedb.knowledge_documents.deleted_at IS
'When it was deleted (softly), NULL while living.';

CREATE INDEX knowledge_documents_living_newest
ON clonedb.knowledge_documents (user_id, uploaded_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_living_newest IS
'Pages of a user''s living documents, newest first.';

CREATE INDEX knowledge_documents_status
ON clonedb.knowledge_documents (user_id, status, uploaded_at DESC, id DESC)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_status IS
'Pages of a user''s documents in one state, newest first.';

CREATE INDEX knowledge_documents_pending
ON clonedb.knowledge_documents (uploaded_at, id)
WHERE status = 'pending' AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_pending IS
'The queue: what no worker has claimed, oldest first, across users.';

CREATE INDEX knowledge_documents_leases
ON clonedb.knowledge_documents (lease_expires_at, id)
WHERE status = 'processing' AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_leases IS
'Claims by their end, to hand out again those whose worker is gone.';

CREATE INDEX knowledge_documents_search ON clonedb.knowledge_documents USING gin (search)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_search IS
'Full-text search. Not under row-level security: its operators are not leakproof.';

CREATE INDEX knowledge_documents_deleted
ON clonedb.knowledge_documents (deleted_at, user_id)
WHERE deleted_at IS NOT NULL;
COMMENT ON INDEX clonedb.knowledge_documents_deleted IS
'Deleted documents by their stamp: to restore with their user, and to purge.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.knowledge_documents');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.knowledge_documents
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT SELECT (
    user_id,
    id,
    content_type,
    size_bytes,
    language,
    chunk_count,
    status,
    claimed_at,
    claimed_by,
    lease_expires_at,
    attempts,
    uploaded_at,
    processed_at,
    created_at,
    updated_at,
    deleted_at
) ON clonedb.knowledge_documents TO clonedb_readonly;
