-- Creates the leases by which one process at a time fills a missing cache entry.
-- depends: 0014_create_caches
-- why: 200 callers that miss the same key should compute it once, in whatever process they are.
-- phase: before deploy
-- locks: none
-- rollback: drops the table; whoever waits computes for itself
--
-- Like the caches: UNLOGGED, per user, the nil UUID for shared keys (of the worker alone), and no
-- foreign key to users.

SET LOCAL ROLE clonedb_owner;

CREATE UNLOGGED TABLE clonedb.cache_fill_leases (
    user_id uuid NOT NULL,
    cache text NOT NULL,
    key bytea NOT NULL,
    holder uuid NOT NULL,
    snapshot pg_snapshot NOT NULL DEFAULT pg_current_snapshot(),
    expires_at timestamptz NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cache_fill_leases_pkey PRIMARY KEY (user_id, cache, key),
    CONSTRAINT cache_fill_leases_cache_is_known CHECK (
        cache IN (
            'embedding', 'vector_search', 'llm_response', 'audio_chunk'
        )
    ),
    CONSTRAINT cache_fill_leases_key_is_a_digest CHECK (octet_length(key) = 32)
) WITH (fillfactor = 70);

COMMENT ON TABLE clonedb.cache_fill_leases IS 'Who is filling which missing cache entry.';
COMMENT ON COLUMN clonedb.cache_fill_leases.user_id IS
'Whose entry it is; the nil UUID for a shared one.';
COMMENT ON COLUMN clonedb.cache_fill_leases.cache IS 'The cache.';
COMMENT ON COLUMN clonedb.cache_fill_leases.key IS 'The key of the missing entry.';
COMMENT ON COLUMN clonedb.cache_fill_leases.holder IS
'A random number of the process''s own: only its holder may finish or give up a lease.';
COMMENT ON COLUMN clonedb.cache_fill_leases.snapshot IS
'What the entry will be stored with: what had been committed when the lease was taken.';
COMMENT ON COLUMN clonedb.cache_fill_leases.expires_at IS
'When another may take over, by the database''s clock.';
COMMENT ON COLUMN clonedb.cache_fill_leases.created_at IS 'When it was first taken.';
COMMENT ON COLUMN clonedb.cache_fill_leases.updated_at IS 'When it was last taken or renewed.';

CREATE INDEX cache_fill_leases_expiry ON clonedb.cache_fill_leases (expires_at);
COMMENT ON INDEX clonedb.cache_fill_leases_expiry IS 'Leases by expiry, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.cache_fill_leases');
END
$protect$;

GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.cache_fill_leases
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT SELECT (user_id, cache, snapshot, expires_at, created_at, updated_at)
ON clonedb.cache_fill_leases TO clonedb_readonly;
