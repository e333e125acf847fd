-- Creates the changes of what cached values are made of, which make the values old.
-- depends: 0022_create_daily_quotas
-- why: a writer drops what was made of its data in its own transaction, with one row, however much
--   is cached; and a value that was being computed meanwhile can't be read after the change.
-- phase: before deploy
-- locks: none
-- rollback: drops the table and the functions; what the changes had made old is read again
--
-- A cached entry bears the snapshot in which its making began; a reader asks whether a change was
-- committed that is not in it. Until the commit the others read the old entries, which fit the old
-- data, from then on none of them. Rows are added and never changed, so that no two writers wait for
-- each other. UNLOGGED, as the caches are: a crash empties both.

SET LOCAL ROLE clonedb_owner;

CREATE UNLOGGED TABLE clonedb.cache_changes (
    user_id uuid NOT NULL,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    caches text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT cache_changes_pkey PRIMARY KEY (user_id, xid),
    CONSTRAINT cache_changes_caches_are_known CHECK (
        caches <@ ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk']
        AND cardinality(caches) > 0
    )
);

COMMENT ON TABLE clonedb.cache_changes IS
'Changes that have made entries of a user''s caches old. Kept for an hour, then the entries are gone.';
COMMENT ON COLUMN clonedb.cache_changes.user_id IS
'Whose caches; the nil UUID for the shared entries.';
COMMENT ON COLUMN clonedb.cache_changes.xid IS 'The transaction that has made the change.';
COMMENT ON COLUMN clonedb.cache_changes.caches IS
'Which caches: a document is in vector searches and LLM responses, a voice in audio chunks, a user in
all of them.';
COMMENT ON COLUMN clonedb.cache_changes.created_at IS 'When the transaction began.';

CREATE INDEX cache_changes_age ON clonedb.cache_changes (created_at);
COMMENT ON INDEX clonedb.cache_changes_age IS 'Changes by age, to purge them.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.cache_changes', 'readable');
END
$protect$;

GRANT SELECT, INSERT, UPDATE ON clonedb.cache_changes TO clonedb_app;
-- A user who deletes themselves takes their rows along.
GRANT DELETE ON clonedb.cache_changes TO clonedb_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.cache_changes TO clonedb_worker, clonedb_dba;
GRANT SELECT ON clonedb.cache_changes TO clonedb_readonly;

CREATE FUNCTION clonedb.cache_initials(p_caches text[]) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN (
    SELECT string_agg(DISTINCT left(c.cache, 1), '' ORDER BY left(c.cache, 1))
    FROM unnest(p_caches) AS c (cache)
);

COMMENT ON FUNCTION clonedb.cache_initials(text[]) IS 'The initials of caches: a, e, l, v.';

CREATE FUNCTION clonedb.cache_notice(p_user_id uuid, p_caches text[]) RETURNS text
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN clonedb.cache_initials(p_caches)
    || ':' || encode(substring(sha256(uuid_send(p_user_id)) FROM 1 FOR 2), 'hex');

COMMENT ON FUNCTION clonedb.cache_notice(uuid, text[]) IS
'What processes are told (NOTIFY clonedb_caches) when caches of a user are dropped: the initials of
the caches, and 16 bits of the digest of the user''s id. Every login of the database may listen, so it
says nothing of a person: about one user in 65,536 is meant.';

GRANT EXECUTE ON FUNCTION
clonedb.cache_initials(text[]),
clonedb.cache_notice(uuid, text[])
TO clonedb_app, clonedb_worker, clonedb_dba;
