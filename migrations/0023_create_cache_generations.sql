-- Creates the generations of cached values, by which a change of the data makes them old.
-- depends: 0022_create_daily_quotas
-- why: a writer drops what was made of its data in its own transaction, with one row, however much
--   is cached; and a value that was being computed meanwhile can't be read after the change.
-- phase: before deploy
-- locks: none
-- rollback: drops the table and the function; entries of generation 0 are read again
--
-- A cached entry bears the generation in which its making began; readers ask for the user's present
-- one. Whoever changes the data counts up in the same statement: until the commit the others read
-- the old entries, which fit the old data, from then on none of them. UNLOGGED, as the caches are:
-- a crash empties both.

SET LOCAL ROLE clonedb_owner;

CREATE UNLOGGED TABLE clonedb.cache_generations (
    user_id uuid NOT NULL,
    embedding bigint NOT NULL DEFAULT 0,
    vector_search bigint NOT NULL DEFAULT 0,
    llm_response bigint NOT NULL DEFAULT 0,
    audio_chunk bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cache_generations_pkey PRIMARY KEY (user_id)
) WITH (fillfactor = 50);

COMMENT ON TABLE clonedb.cache_generations IS
'How often each of a user''s caches was dropped as a whole; no row is 0. Older entries are not read.';
COMMENT ON COLUMN clonedb.cache_generations.user_id IS
'Whose caches; the nil UUID for the shared entries.';
COMMENT ON COLUMN clonedb.cache_generations.embedding IS
'Of embeddings: deleting the user counts it up.';
COMMENT ON COLUMN clonedb.cache_generations.vector_search IS
'Of vector searches: a change to a document counts it up.';
COMMENT ON COLUMN clonedb.cache_generations.llm_response IS
'Of LLM responses: a change to a document counts it up.';
COMMENT ON COLUMN clonedb.cache_generations.audio_chunk IS
'Of audio chunks: a change of the active voice counts it up.';
COMMENT ON COLUMN clonedb.cache_generations.created_at IS 'When one was first counted up.';
COMMENT ON COLUMN clonedb.cache_generations.updated_at IS 'When one was last counted up.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.cache_generations', 'readable');
END
$protect$;

GRANT SELECT, INSERT, UPDATE ON clonedb.cache_generations TO clonedb_app;
-- A user who deletes themselves takes their row along.
GRANT DELETE ON clonedb.cache_generations TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.cache_generations TO clonedb_worker, clonedb_dba;
GRANT SELECT ON clonedb.cache_generations TO clonedb_readonly;

CREATE FUNCTION clonedb.cache_notice(p_user_id uuid, p_caches text) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN p_caches || ':' || encode(substring(sha256(uuid_send(p_user_id)) FROM 1 FOR 2), 'hex');

COMMENT ON FUNCTION clonedb.cache_notice(uuid, text) IS
'What processes are told (NOTIFY clonedb_caches) when caches of a user are dropped: the initials of
the caches (e, v, l, a), and 16 bits of the digest of the user''s id. Every login of the database may
listen, so it says nothing of a person: about one user in 65,536 is meant.';

GRANT EXECUTE ON FUNCTION clonedb.cache_notice(uuid, text) TO clonedb_app, clonedb_worker, clonedb_dba;
