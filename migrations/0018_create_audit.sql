-- Creates the audit log by month, the erasable details of its entries, and the seals.
-- depends: 0017_create_daily_usage
-- why: who did what to whom must outlive the person and stay provable, and the person must be able
--   to be forgotten. So the log holds random references alone; what is personal about an entry is a
--   row beside it that dies at erasure, and nothing that was sealed is ever rewritten.
-- phase: before deploy
-- locks: none
-- rollback: drops the tables with every row in them
--
--   audit_logs (append-only) ---- subject_ref, actor_ref: users.subject_ref, gone with its user
--        | id
--   audit_subjects (erasable) --- user_id, ip_address, user_agent, metadata
--   audit_seals (append-only) --- the digests of the entries of a range of transactions

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.audit_logs (
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    actor_ref uuid,
    subject_ref uuid,
    action text NOT NULL,
    resource text NOT NULL,
    result text NOT NULL,
    system_identifier bigint NOT NULL DEFAULT (pg_control_system()).system_identifier,
    xid xid8 NOT NULL DEFAULT pg_current_xact_id(),
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_logs_pkey PRIMARY KEY (id),
    CONSTRAINT audit_logs_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    -- Nobody writes into a month that is over; a day is for clocks that differ.
    CONSTRAINT audit_logs_id_is_of_its_time CHECK (
        id >= clonedb.uuid_v7_floor(
            (created_at AT TIME ZONE 'UTC' - interval '1 day') AT TIME ZONE 'UTC'
        )
        AND id < clonedb.uuid_v7_floor(
            (created_at AT TIME ZONE 'UTC' + interval '1 day') AT TIME ZONE 'UTC'
        )
    ),
    -- Neither an address nor a sentence can be written in these two.
    CONSTRAINT audit_logs_action_is_a_name CHECK (
        char_length(action) <= 100
        AND action ~ '^[a-z][a-z_]*([.][a-z][a-z_]*)*$'
    ),
    CONSTRAINT audit_logs_resource_is_a_name CHECK (
        char_length(resource) <= 100
        AND resource ~ '^[a-z][a-z_]*(/[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12})?$'
    ),
    CONSTRAINT audit_logs_result_is_known CHECK (result IN ('success', 'failure'))
) PARTITION BY RANGE (id);

COMMENT ON TABLE clonedb.audit_logs IS
'Who did what to whom, and whether it succeeded. Append-only; nothing personal; survives erasure.';
COMMENT ON COLUMN clonedb.audit_logs.id IS 'UUIDv7; its month is the partition.';
COMMENT ON COLUMN clonedb.audit_logs.actor_ref IS
'users.subject_ref of who did it; NULL for the system or somebody unknown.';
COMMENT ON COLUMN clonedb.audit_logs.subject_ref IS
'users.subject_ref of whom it concerned; NULL for nobody or somebody unknown.';
COMMENT ON COLUMN clonedb.audit_logs.action IS
'What was done, such as session.start: small letters, underscores and dots.';
COMMENT ON COLUMN clonedb.audit_logs.resource IS
'What it was done to, such as voice_models, or voice_models/ and an id.';
COMMENT ON COLUMN clonedb.audit_logs.result IS 'success or failure.';
COMMENT ON COLUMN clonedb.audit_logs.system_identifier IS
'The server that numbered the transaction; a dump that is restored elsewhere goes on with another.';
COMMENT ON COLUMN clonedb.audit_logs.xid IS
'The transaction that wrote it: what seals are cut by, so that no late commit escapes them.';
COMMENT ON COLUMN clonedb.audit_logs.created_at IS 'When that transaction began.';

-- By id, which is in the order of time: months are ranges of ids, so a page reads the newest month
-- and stops; ordered by created_at it would look into every month.
CREATE INDEX audit_logs_subject ON clonedb.audit_logs (subject_ref, id DESC);
COMMENT ON INDEX clonedb.audit_logs_subject IS 'Entries about one person, newest first.';

CREATE INDEX audit_logs_action ON clonedb.audit_logs (action, id DESC);
COMMENT ON INDEX clonedb.audit_logs_action IS 'Entries of one action, newest first.';

CREATE INDEX audit_logs_resource ON clonedb.audit_logs (resource, id DESC);
COMMENT ON INDEX clonedb.audit_logs_resource IS 'Entries about one thing, newest first.';

CREATE INDEX audit_logs_failures ON clonedb.audit_logs (id DESC) WHERE result = 'failure';
COMMENT ON INDEX clonedb.audit_logs_failures IS 'What failed, newest first.';

CREATE INDEX audit_logs_transaction ON clonedb.audit_logs (system_identifier, xid);
COMMENT ON INDEX clonedb.audit_logs_transaction IS 'Entries by transaction, to seal and to verify them.';

CREATE TABLE clonedb.audit_subjects (
    user_id uuid NOT NULL,
    id uuid NOT NULL,
    ip_address inet,
    user_agent text,
    metadata jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_subjects_pkey PRIMARY KEY (user_id, id),
    CONSTRAINT audit_subjects_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT audit_subjects_user_agent_is_short CHECK (char_length(user_agent) <= 1000),
    CONSTRAINT audit_subjects_metadata_is_an_object CHECK (jsonb_typeof(metadata) = 'object'),
    CONSTRAINT audit_subjects_metadata_is_small CHECK (octet_length(metadata::text) <= 65536)
);

COMMENT ON TABLE clonedb.audit_subjects IS
'What is personal about entries of the audit log; deleted when the person is erased.';
COMMENT ON COLUMN clonedb.audit_subjects.user_id IS
'Whom the details are about; the nil UUID for somebody unknown.';
COMMENT ON COLUMN clonedb.audit_subjects.id IS 'The id of the entry in audit_logs.';
COMMENT ON COLUMN clonedb.audit_subjects.ip_address IS 'Where the request came from.';
COMMENT ON COLUMN clonedb.audit_subjects.user_agent IS 'What the request was made with.';
COMMENT ON COLUMN clonedb.audit_subjects.metadata IS
'What else is to be remembered of it, a JSON object of at most 64 KiB.';
COMMENT ON COLUMN clonedb.audit_subjects.created_at IS 'When the row was stored.';

CREATE INDEX audit_subjects_entry ON clonedb.audit_subjects (id);
COMMENT ON INDEX clonedb.audit_subjects_entry IS
'Details of entries across users, and by age, to purge them with their month.';

CREATE TABLE clonedb.audit_seals (
    number bigint NOT NULL,
    system_identifier bigint NOT NULL,
    from_xid xid8 NOT NULL,
    to_xid xid8 NOT NULL,
    entry_count bigint NOT NULL,
    entries bytea NOT NULL,
    previous_digest bytea NOT NULL,
    digest bytea NOT NULL,
    sealed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    CONSTRAINT audit_seals_pkey PRIMARY KEY (number),
    CONSTRAINT audit_seals_ranges_differ UNIQUE (system_identifier, from_xid),
    CONSTRAINT audit_seals_number_is_positive CHECK (number > 0),
    CONSTRAINT audit_seals_xids_are_a_range CHECK (from_xid < to_xid),
    CONSTRAINT audit_seals_entry_count_is_positive CHECK (entry_count > 0),
    CONSTRAINT audit_seals_entries_are_counted CHECK (octet_length(entries) = 48 * entry_count),
    CONSTRAINT audit_seals_digest_is_sha256 CHECK (octet_length(digest) = 32),
    CONSTRAINT audit_seals_previous_digest_is_sha256 CHECK (octet_length(previous_digest) = 32)
);

-- Digests cannot be compressed.
ALTER TABLE clonedb.audit_seals ALTER COLUMN entries SET STORAGE EXTERNAL;

COMMENT ON TABLE clonedb.audit_seals IS
'Which entries of the audit log there are, in batches, each with a digest over the one before.
Append-only, by clonedb.seal_audit_logs() alone; kept when the months of its entries are dropped.';
COMMENT ON COLUMN clonedb.audit_seals.number IS '1, 2, 3 …';
COMMENT ON COLUMN clonedb.audit_seals.system_identifier IS
'The server that numbered the transactions.';
COMMENT ON COLUMN clonedb.audit_seals.from_xid IS
'The first transaction that it covers: to_xid of the server''s seal before, 0 in its first.';
COMMENT ON COLUMN clonedb.audit_seals.to_xid IS
'The first transaction that it does not cover; all before it had ended when it was cut.';
COMMENT ON COLUMN clonedb.audit_seals.entry_count IS 'How many entries it covers.';
COMMENT ON COLUMN clonedb.audit_seals.entries IS
'For each, by transaction and id: the 16 bytes of its id and the SHA-256 of its columns.';
COMMENT ON COLUMN clonedb.audit_seals.previous_digest IS
'The digest of the seal before; 32 zero bytes in the first.';
COMMENT ON COLUMN clonedb.audit_seals.digest IS
'SHA-256 over all other columns, and thereby over all seals before. Keep the last one elsewhere.';
COMMENT ON COLUMN clonedb.audit_seals.sealed_at IS 'When it was cut.';

DO $protect$
BEGIN
    PERFORM clonedb.protect_user_table('clonedb.audit_logs');
    PERFORM clonedb.protect_user_table('clonedb.audit_subjects', 'appendable');
END
$protect$;

-- Column by column: nobody chooses the server, the transaction or the time that an entry is filed
-- under.
-- UPDATE, DELETE and TRUNCATE are nobody's but the owner's, who has no login.
GRANT SELECT, INSERT (id, actor_ref, subject_ref, action, resource, result)
ON clonedb.audit_logs TO clonedb_app, clonedb_worker;
GRANT SELECT ON clonedb.audit_logs TO clonedb_readonly, clonedb_dba;
-- DELETE: a user who is deleted for good takes what is personal about their entries along.
GRANT SELECT, INSERT, DELETE ON clonedb.audit_subjects TO clonedb_app;
GRANT SELECT, INSERT, DELETE ON clonedb.audit_subjects TO clonedb_worker;
GRANT SELECT, DELETE ON clonedb.audit_subjects TO clonedb_dba;
GRANT SELECT ON clonedb.audit_seals
TO clonedb_worker, clonedb_readonly, clonedb_backup, clonedb_dba;

CREATE FUNCTION clonedb.acting_ref(p_subject_ref uuid) RETURNS uuid
LANGUAGE sql
STABLE
PARALLEL SAFE
-- As row-level security decides it, so that a login of one's own that is a member counts too.
RETURN CASE WHEN pg_has_role('clonedb_app', 'USAGE') THEN p_subject_ref END;

COMMENT ON FUNCTION clonedb.acting_ref(uuid) IS
'Who is on record as the actor of a statement about somebody: themselves under the app login, NULL,
which is the system, under any other.';

GRANT EXECUTE ON FUNCTION clonedb.acting_ref(uuid) TO clonedb_app, clonedb_worker;

CREATE FUNCTION clonedb.create_audit_partitions(p_from date, p_months integer) RETURNS integer
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clonedb.create_month_partitions('clonedb.audit_logs', p_from, p_months);
END
$$;

COMMENT ON FUNCTION clonedb.create_audit_partitions(date, integer) IS
'Makes the missing months of audit_logs among p_months from the month of p_from on, and returns how
many. Safe to repeat and to run at once.';

CREATE FUNCTION clonedb.audit_months_ahead() RETURNS integer
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clonedb.months_ahead('clonedb.audit_logs');
END
$$;

COMMENT ON FUNCTION clonedb.audit_months_ahead() IS
'How many months of the audit log after this one are ready without a gap; -1 where this one is
missing.';

GRANT EXECUTE ON FUNCTION clonedb.create_audit_partitions(date, integer)
TO clonedb_worker, clonedb_dba;
GRANT EXECUTE ON FUNCTION clonedb.audit_months_ahead()
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_dba;

DO $months$
BEGIN
    -- The month before, for clocks that are late around midnight.
    PERFORM clonedb.create_audit_partitions(
        (date_trunc('month', now() AT TIME ZONE 'UTC') - interval '1 month')::date,
        26
    );
END
$months$;
