-- Creates the four caches of the second tier.
-- depends: 0013_create_knowledge_documents
-- why: what is costly to compute again is kept in the same database as the data, so that a writer's
--   own transaction can drop it. UNLOGGED: no WAL, and empty after a crash or a promotion.
-- phase: before deploy
-- locks: none
-- rollback: drops the tables; what they held is computed again
--
-- All four: the key is the SHA-256 of everything that determines the value. Rows of the nil UUID
-- are shared: the app reads them, only the worker writes them, so that nobody poisons another's
-- answers. No foreign key to users, hence: who deletes or erases a user deletes these rows too. The
-- fill factor leaves room for counting hits in place (HOT); for the same reason nothing that a hit
-- changes is indexed.

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.embedding_to_real(p_embedding bytea) RETURNS real[]
LANGUAGE plpgsql
IMMUTABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- IEEE 754 binary32: 1 bit sign, 8 bits exponent (bias 127), 23 bits fraction.
    RETURN (
        SELECT
            array_agg(
                (
                    CASE WHEN word.sign = 0 THEN 1 ELSE -1 END
                    * CASE word.exponent
                        WHEN 0 THEN word.fraction * 2::double precision ^ -149
                        WHEN 255 THEN
                            CASE word.fraction WHEN 0 THEN 'infinity' ELSE 'NaN' END
                            ::double precision
                        ELSE
                            (8388608 + word.fraction)
                            * 2::double precision ^ (word.exponent - 150)
                    END
                )::real
                ORDER BY word.position
            )
        FROM (
            SELECT
                number.position,
                get_byte(p_embedding, number.position + 3) >> 7 AS sign,
                ((get_byte(p_embedding, number.position + 3) & 127) << 1)
                + (get_byte(p_embedding, number.position + 2) >> 7) AS exponent,
                ((get_byte(p_embedding, number.position + 2) & 127) << 16)
                + (get_byte(p_embedding, number.position + 1) << 8)
                + get_byte(p_embedding, number.position) AS fraction
            FROM generate_series(0, octet_length(p_embedding) - 4, 4) AS number (position)
        ) AS word
    );
END
$$;

COMMENT ON FUNCTION clonedb.embedding_to_real(bytea) IS
'The numbers of an embedding (float32, little-endian), for people to look at; NULL of nothing.';

GRANT EXECUTE ON FUNCTION clonedb.embedding_to_real(bytea)
TO clonedb_app, clonedb_worker, clonedb_dba;

CREATE UNLOGGED TABLE clonedb.embedding_cache (
    user_id uuid NOT NULL,
    key bytea NOT NULL,
    embedding bytea,
    model text NOT NULL,
    dimensions integer,
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    tags text[] NOT NULL DEFAULT '{}',
    hit_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT embedding_cache_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT embedding_cache_key_is_a_digest CHECK (octet_length(key) = 32),
    -- float32 each. 4,096 numbers are the most that common models give.
    CONSTRAINT embedding_cache_dimensions_are_plausible CHECK (dimensions BETWEEN 1 AND 4096),
    CONSTRAINT embedding_cache_embedding_is_whole CHECK (
        octet_length(embedding) = 4 * dimensions
    ),
    CONSTRAINT embedding_cache_value_is_whole CHECK (
        num_nulls(embedding, dimensions) IN (0, 2)
    ),
    CONSTRAINT embedding_cache_model_is_short CHECK (char_length(model) BETWEEN 1 AND 200),
    CONSTRAINT embedding_cache_tags_are_few CHECK (
        cardinality(tags) <= 100
        AND array_position(tags, NULL) IS NULL
    ),
    CONSTRAINT embedding_cache_hit_count_is_not_negative CHECK (hit_count >= 0)
) WITH (fillfactor = 70, toast_tuple_target = 8160);

-- A vector of 1,536 numbers (6 KiB) stays whole in its page, which reads 1.5 times faster than from
-- the TOAST table; longer ones go there, uncompressed. PLAIN would refuse them.
ALTER TABLE clonedb.embedding_cache ALTER COLUMN embedding SET STORAGE EXTERNAL;

COMMENT ON TABLE clonedb.embedding_cache IS 'Embeddings of texts.';
COMMENT ON COLUMN clonedb.embedding_cache.user_id IS
'Whose it is; the nil UUID for what everybody may read.';
COMMENT ON COLUMN clonedb.embedding_cache.key IS 'SHA-256 of all that determines the value.';
COMMENT ON COLUMN clonedb.embedding_cache.embedding IS
'The vector: float32 numbers, little-endian; see embedding_to_real(). NULL: it is known that there is
none.';
COMMENT ON COLUMN clonedb.embedding_cache.model IS 'The model that made it.';
COMMENT ON COLUMN clonedb.embedding_cache.dimensions IS 'How many numbers it has, 1 to 4,096.';
COMMENT ON COLUMN clonedb.embedding_cache.snapshot IS
'What had been committed when its making began: a change that is not in it has made it old.';
COMMENT ON COLUMN clonedb.embedding_cache.tags IS 'Words that entries are dropped by, at most 100.';
COMMENT ON COLUMN clonedb.embedding_cache.hit_count IS
'How often it was used; counted in batches, so a crash loses some.';
COMMENT ON COLUMN clonedb.embedding_cache.expires_at IS
'When it is no longer used, by the database''s clock.';
COMMENT ON COLUMN clonedb.embedding_cache.created_at IS 'When it was first stored.';
COMMENT ON COLUMN clonedb.embedding_cache.updated_at IS 'When it was last stored again.';

CREATE INDEX embedding_cache_expiry ON clonedb.embedding_cache (expires_at);
COMMENT ON INDEX clonedb.embedding_cache_expiry IS 'Entries by expiry, to purge them.';

CREATE UNLOGGED TABLE clonedb.vector_search_cache (
    user_id uuid NOT NULL,
    key bytea NOT NULL,
    results jsonb,
    document_ids uuid[] NOT NULL DEFAULT '{}',
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    tags text[] NOT NULL DEFAULT '{}',
    hit_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT vector_search_cache_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT vector_search_cache_key_is_a_digest CHECK (octet_length(key) = 32),
    -- By pg_column_size, which reads no stored value, since a counted hit checks this again.
    CONSTRAINT vector_search_cache_results_are_small CHECK (pg_column_size(results) <= 2097152),
    CONSTRAINT vector_search_cache_document_ids_are_few CHECK (
        cardinality(document_ids) <= 10000
        AND array_position(document_ids, NULL) IS NULL
    ),
    CONSTRAINT vector_search_cache_tags_are_few CHECK (
        cardinality(tags) <= 100
        AND array_position(tags, NULL) IS NULL
    ),
    CONSTRAINT vector_search_cache_hit_count_is_not_negative CHECK (hit_count >= 0)
) WITH (fillfactor = 70);

COMMENT ON TABLE clonedb.vector_search_cache IS 'Results of searches in the vector index.';
COMMENT ON COLUMN clonedb.vector_search_cache.user_id IS
'Whose it is; the nil UUID for what everybody may read.';
COMMENT ON COLUMN clonedb.vector_search_cache.key IS 'SHA-256 of all that determines the value.';
COMMENT ON COLUMN clonedb.vector_search_cache.results IS
'What the search found, JSON of at most 2 MiB as stored. NULL: it is known that there is nothing.';
COMMENT ON COLUMN clonedb.vector_search_cache.document_ids IS
'The documents in it, so that a changed one drops it.';
COMMENT ON COLUMN clonedb.vector_search_cache.snapshot IS
'What had been committed when its making began: a change that is not in it has made it old.';
COMMENT ON COLUMN clonedb.vector_search_cache.tags IS
'Words that entries are dropped by, at most 100.';
COMMENT ON COLUMN clonedb.vector_search_cache.hit_count IS
'How often it was used; counted in batches, so a crash loses some.';
COMMENT ON COLUMN clonedb.vector_search_cache.expires_at IS
'When it is no longer used, by the database''s clock.';
COMMENT ON COLUMN clonedb.vector_search_cache.created_at IS 'When it was first stored.';
COMMENT ON COLUMN clonedb.vector_search_cache.updated_at IS 'When it was last stored again.';

CREATE INDEX vector_search_cache_expiry ON clonedb.vector_search_cache (expires_at);
COMMENT ON INDEX clonedb.vector_search_cache_expiry IS 'Entries by expiry, to purge them.';

CREATE UNLOGGED TABLE clonedb.llm_response_cache (
    user_id uuid NOT NULL,
    key bytea NOT NULL,
    response text,
    provider text NOT NULL,
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    document_ids uuid[] NOT NULL DEFAULT '{}',
    tags text[] NOT NULL DEFAULT '{}',
    hit_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT llm_response_cache_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT llm_response_cache_key_is_a_digest CHECK (octet_length(key) = 32),
    CONSTRAINT llm_response_cache_response_is_small CHECK (octet_length(response) <= 1048576),
    CONSTRAINT llm_response_cache_provider_is_known CHECK (
        provider IN (
            'gpt-4-turbo', 'gpt-3.5-turbo', 'claude-3-opus', 'claude-3-sonnet', 'llama-3-70b'
        )
    ),
    CONSTRAINT llm_response_cache_document_ids_are_few CHECK (
        cardinality(document_ids) <= 10000
        AND array_position(document_ids, NULL) IS NULL
    ),
    CONSTRAINT llm_response_cache_tags_are_few CHECK (
        cardinality(tags) <= 100
        AND array_position(tags, NULL) IS NULL
    ),
    CONSTRAINT llm_response_cache_hit_count_is_not_negative CHECK (hit_count >= 0)
) WITH (fillfactor = 70);

COMMENT ON TABLE clonedb.llm_response_cache IS 'Answers of language models.';
COMMENT ON COLUMN clonedb.llm_response_cache.user_id IS
'Whose it is; the nil UUID for what everybody may read.';
COMMENT ON COLUMN clonedb.llm_response_cache.key IS 'SHA-256 of all that determines the value.';
COMMENT ON COLUMN clonedb.llm_response_cache.response IS 'The answer, at most 1 MiB. NULL: it is known that there is none.';
COMMENT ON COLUMN clonedb.llm_response_cache.provider IS 'The language model that gave it.';
COMMENT ON COLUMN clonedb.llm_response_cache.snapshot IS
'What had been committed when its making began: a change that is not in it has made it old.';
COMMENT ON COLUMN clonedb.llm_response_cache.document_ids IS
'The documents that the answer was made from, so that a changed one drops it.';
COMMENT ON COLUMN clonedb.llm_response_cache.tags IS
'Words that entries are dropped by, at most 100.';
COMMENT ON COLUMN clonedb.llm_response_cache.hit_count IS
'How often it was used; counted in batches, so a crash loses some.';
COMMENT ON COLUMN clonedb.llm_response_cache.expires_at IS
'When it is no longer used, by the database''s clock.';
COMMENT ON COLUMN clonedb.llm_response_cache.created_at IS 'When it was first stored.';
COMMENT ON COLUMN clonedb.llm_response_cache.updated_at IS 'When it was last stored again.';

CREATE INDEX llm_response_cache_expiry ON clonedb.llm_response_cache (expires_at);
COMMENT ON INDEX clonedb.llm_response_cache_expiry IS 'Entries by expiry, to purge them.';

CREATE UNLOGGED TABLE clonedb.audio_chunk_cache (
    user_id uuid NOT NULL,
    key bytea NOT NULL,
    audio bytea,
    format text,
    duration_ms integer,
    sample_rate integer,
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    tags text[] NOT NULL DEFAULT '{}',
    hit_count bigint NOT NULL DEFAULT 0,
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audio_chunk_cache_pkey PRIMARY KEY (user_id, key),
    CONSTRAINT audio_chunk_cache_key_is_a_digest CHECK (octet_length(key) = 32),
    CONSTRAINT audio_chunk_cache_value_is_whole CHECK (
        num_nulls(audio, format, duration_ms, sample_rate) IN (0, 4)
    ),
    CONSTRAINT audio_chunk_cache_audio_is_small CHECK (
        octet_length(audio) BETWEEN 1 AND 10485760
    ),
    CONSTRAINT audio_chunk_cache_format_is_known CHECK (
        format IN ('pcm', 'wav', 'flac', 'mp3', 'aac', 'ogg', 'opus', 'webm')
    ),
    CONSTRAINT audio_chunk_cache_duration_ms_is_not_negative CHECK (duration_ms >= 0),
    CONSTRAINT audio_chunk_cache_sample_rate_is_plausible CHECK (
        sample_rate BETWEEN 8000 AND 384000
    ),
    CONSTRAINT audio_chunk_cache_tags_are_few CHECK (
        cardinality(tags) <= 100
        AND array_position(tags, NULL) IS NULL
    ),
    CONSTRAINT audio_chunk_cache_hit_count_is_not_negative CHECK (hit_count >= 0)
) WITH (fillfactor = 70);

-- Sound is compressed already, or asked for in pieces.
ALTER TABLE clonedb.audio_chunk_cache ALTER COLUMN audio SET STORAGE EXTERNAL;

COMMENT ON TABLE clonedb.audio_chunk_cache IS 'Pieces of synthesised speech.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.user_id IS
'Whose it is; the nil UUID for what everybody may read.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.key IS 'SHA-256 of all that determines the value.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.audio IS
'The sound, 1 byte to 10 MiB, stored as it is. NULL, with what describes it: it is known that there
is none.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.format IS
'pcm, wav, flac, mp3, aac, ogg, opus or webm.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.duration_ms IS 'How long it plays, in milliseconds.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.sample_rate IS 'Samples per second (Hz).';
COMMENT ON COLUMN clonedb.audio_chunk_cache.snapshot IS
'What had been committed when its making began: a change that is not in it has made it old.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.tags IS
'Words that entries are dropped by, at most 100.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.hit_count IS
'How often it was used; counted in batches, so a crash loses some.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.expires_at IS
'When it is no longer used, by the database''s clock.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.created_at IS 'When it was first stored.';
COMMENT ON COLUMN clonedb.audio_chunk_cache.updated_at IS 'When it was last stored again.';

CREATE INDEX audio_chunk_cache_expiry ON clonedb.audio_chunk_cache (expires_at);
COMMENT ON INDEX clonedb.audio_chunk_cache_expiry IS 'Entries by expiry, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.embedding_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.vector_search_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.llm_response_cache', 'readable');
    PERFORM clonedb.protect_user_table('clonedb.audio_chunk_cache', 'readable');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON
clonedb.embedding_cache,
clonedb.vector_search_cache,
clonedb.llm_response_cache,
clonedb.audio_chunk_cache
TO clonedb_app, clonedb_worker, clonedb_dba;

GRANT SELECT (user_id, snapshot, hit_count, expires_at, created_at, updated_at)
ON clonedb.embedding_cache TO clonedb_readonly;

GRANT SELECT (user_id, snapshot, hit_count, expires_at, created_at, updated_at)
ON clonedb.vector_search_cache TO clonedb_readonly;

GRANT SELECT (user_id, snapshot, hit_count, expires_at, created_at, updated_at)
ON clonedb.llm_response_cache TO clonedb_readonly;

GRANT SELECT (user_id, snapshot, hit_count, expires_at, created_at, updated_at)
ON clonedb.audio_chunk_cache TO clonedb_readonly;
