-- Creates the table of how long everything is kept, and what sets it and asks it.
-- depends: 0032_create_person_export
-- why: what `clonedb maintain` deletes is a decision of whoever runs the system, and belongs where
--   the statements that delete can ask it. What is a customer's is kept until it is switched on.
-- phase: before deploy
-- locks: SHARE on conversation_sessions, knowledge_documents (no release has stored any yet)
-- builds: conversation_sessions_started of conversation_sessions, knowledge_documents_failed of
--   knowledge_documents
-- rollback: drops the table with what was set, the functions and the indexes

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.retention_policies (
    name text NOT NULL,
    description text NOT NULL,
    keep_days integer NOT NULL,
    enabled boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT retention_policies_pkey PRIMARY KEY (name),
    CONSTRAINT retention_policies_name_is_plain CHECK (
        char_length(name) <= 100 AND name ~ '^[a-z][a-z_]*$'
    ),
    CONSTRAINT retention_policies_description_is_short CHECK (
        char_length(description) BETWEEN 1 AND 200
    ),
    CONSTRAINT retention_policies_keep_days_is_plausible CHECK (keep_days BETWEEN 1 AND 36500),
    -- Time for what is sealed late; entries are within a day of their month.
    CONSTRAINT retention_policies_audit_logs_are_kept_a_month CHECK (
        name <> 'audit_logs' OR keep_days >= 31
    )
);

COMMENT ON TABLE clonedb.retention_policies IS
'How long what is kept, and whether `clonedb maintain` deletes it afterwards. Set by
clonedb.set_retention(); what is not enabled is kept for ever.';
COMMENT ON COLUMN clonedb.retention_policies.name IS
'What is kept: a table, or which of its rows. [personal: none]';
COMMENT ON COLUMN clonedb.retention_policies.description IS
'What goes, and from when on its days are counted. [personal: none]';
COMMENT ON COLUMN clonedb.retention_policies.keep_days IS
'How many days of 24 hours it is kept. [personal: none]';
COMMENT ON COLUMN clonedb.retention_policies.enabled IS
'Whether it is deleted afterwards; false from the start for what is a customer''s.
[personal: none]';
COMMENT ON COLUMN clonedb.retention_policies.created_at IS
'When the policy was made. [personal: none]';
COMMENT ON COLUMN clonedb.retention_policies.updated_at IS
'When it was last set. [personal: none]';

INSERT INTO clonedb.retention_policies (name, keep_days, enabled, description)
VALUES
('audit_logs', 730, false, 'Months of the audit log that ended so long ago and are sealed.'),
(
    'audit_subjects', 730, false,
    'Addresses, user agents and other details of entries of the audit log, by the entry''s time.'
),
('cache_use', 400, true, 'How often the caches were asked, by hour; nothing of anybody.'),
(
    'conversation_sessions', 730, false,
    'Sessions whose time for turns, a week, ended so long ago, with what is left of their turns.'
),
(
    'conversation_turns', 730, false,
    'Months of turns that ended so long ago; the totals of their sessions stay.'
),
('daily_reservations', 31, false, 'Reservations of the daily quota, by their day.'),
('daily_usage', 730, false, 'What people used of the daily quota, by day.'),
(
    'deleted_conversation_sessions', 30, false,
    'Sessions, with their turns, that their user deleted so long ago.'
),
('deleted_face_models', 30, false, 'Face models that their user deleted so long ago.'),
('deleted_knowledge_documents', 30, false, 'Documents that their user deleted so long ago.'),
('deleted_users', 30, false, 'Users who were deleted so long ago, with all that is theirs.'),
('deleted_voice_models', 30, false, 'Voice models that their user deleted so long ago.'),
('failed_documents', 90, false, 'Documents that could not be processed, by their upload.'),
('rate_limits', 31, true, 'Counts of requests by minute.');

GRANT SELECT ON clonedb.retention_policies
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup, clonedb_dba;

CREATE FUNCTION clonedb.set_retention(p_name text, p_keep_days integer, p_enabled boolean)
RETURNS SETOF clonedb.retention_policies
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_policy clonedb.retention_policies;
    v_entry uuid;
BEGIN
    SELECT p.*
    INTO v_policy
    FROM clonedb.retention_policies AS p
    WHERE p.name = p_name
    FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    IF coalesce(p_keep_days, v_policy.keep_days) <> v_policy.keep_days
        OR coalesce(p_enabled, v_policy.enabled) <> v_policy.enabled
    THEN
        UPDATE clonedb.retention_policies AS p
        SET
            keep_days = coalesce(p_keep_days, p.keep_days),
            enabled = coalesce(p_enabled, p.enabled),
            updated_at = statement_timestamp()
        WHERE p.name = p_name
        RETURNING p.* INTO v_policy;

        INSERT INTO clonedb.audit_logs (action, resource, result)
        VALUES ('retention_policy.put', 'retention_policies', 'success')
        RETURNING id INTO v_entry;
        -- What was set, and as whom: a login may be named after a person, so beside the log.
        INSERT INTO clonedb.audit_subjects (user_id, id, metadata)
        VALUES (
            '00000000-0000-0000-0000-000000000000',
            v_entry,
            jsonb_build_object(
                'policy', v_policy.name,
                'keep_days', v_policy.keep_days,
                'enabled', v_policy.enabled,
                'login', session_user
            )
        );
    END IF;
    RETURN NEXT v_policy;
END
$$;

COMMENT ON FUNCTION clonedb.set_retention(text, integer, boolean) IS
'Sets how many days something is kept and whether it is deleted afterwards; NULL leaves either as it
is. Returns the policy, or no row where there is none. A change is put on record in the audit log.';

GRANT EXECUTE ON FUNCTION clonedb.set_retention(text, integer, boolean)
TO clonedb_worker, clonedb_dba;

CREATE FUNCTION clonedb.retention_cutoff(p_name text, p_now timestamptz) RETURNS timestamptz
LANGUAGE sql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT p_now - make_interval(hours => 24 * p.keep_days)
FROM clonedb.retention_policies AS p
WHERE p.name = p_name
    AND p.enabled
$$;

COMMENT ON FUNCTION clonedb.retention_cutoff(text, timestamptz) IS
'What is older than this is to be deleted, as of p_now; NULL, which nothing is older than, for a
policy that is not enabled. Statements that delete compare with it, so that none can forget to ask.';

GRANT EXECUTE ON FUNCTION clonedb.retention_cutoff(text, timestamptz)
TO clonedb_worker, clonedb_dba;

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX conversation_sessions_started ON clonedb.conversation_sessions (started_at);
COMMENT ON INDEX clonedb.conversation_sessions_started IS
'Sessions by age, across users, to delete the old ones.';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX knowledge_documents_failed ON clonedb.knowledge_documents (uploaded_at)
WHERE status = 'failed' AND deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_failed IS
'Documents that could not be processed, oldest first, across users, to delete the old ones.';
