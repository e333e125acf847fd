-- Creates the ledger of erased people, and the functions that erase one, wherever they are.
-- depends: 0030_classify_columns
-- why: whoever is forgotten must be gone from every table, also from those without a foreign key and
--   those of a later migration, and must not come back with a backup. So what is erased is read from
--   the catalogue, in one transaction, and the ledger says afterwards who is not to be there.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on object_deletions (for an instant)
-- builds: object_deletions_erasure of object_deletions (a queue that is all but empty)
-- rollback: drops the ledger; keep a copy of it (clonedb erase-user --ledger-to)
--
--   users and all that is theirs --- erase_user() ---> erasures, open
--        | keys of objects                                 |
--        +----> object_deletions --- deleted in the store  |
--                                                          v
--   close_erasures(): nobody who may have seen the person is still at work, nothing of theirs was
--   stored meanwhile, no object is left ---> erasures, closed

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.erasures (
    id uuid NOT NULL DEFAULT clonedb.uuid_v7(),
    user_digest bytea NOT NULL,
    open_user_id uuid,
    row_counts jsonb NOT NULL,
    digest bytea NOT NULL,
    waits_for text[],
    erased_at timestamptz NOT NULL,
    reapplied_at timestamptz,
    closed_at timestamptz,
    CONSTRAINT erasures_pkey PRIMARY KEY (id),
    CONSTRAINT erasures_user_digest_is_unique UNIQUE (user_digest),
    CONSTRAINT erasures_id_is_uuid_v7 CHECK (clonedb.is_uuid_v7(id)),
    CONSTRAINT erasures_user_digest_is_sha256 CHECK (octet_length(user_digest) = 32),
    CONSTRAINT erasures_digest_is_sha256 CHECK (octet_length(digest) = 32),
    CONSTRAINT erasures_row_counts_is_an_object CHECK (jsonb_typeof(row_counts) = 'object'),
    -- A closed one names nobody.
    CONSTRAINT erasures_user_is_known_while_open CHECK (
        (open_user_id IS NULL) = (closed_at IS NOT NULL)
    )
);

COMMENT ON TABLE clonedb.erasures IS
'Who was erased: a receipt for each, by a digest of the id. Copied elsewhere, it is applied again after
a backup from before an erasure was restored.';
COMMENT ON COLUMN clonedb.erasures.id IS 'The number of the receipt, a UUIDv7. [personal: none]';
COMMENT ON COLUMN clonedb.erasures.user_digest IS
'SHA-256 of the user''s id (clonedb.person_digest), which cannot be found from it: the id is mostly
random. [personal: identifier]';
COMMENT ON COLUMN clonedb.erasures.open_user_id IS
'The user''s id as long as the receipt is open, to remove what a transaction under way may still have
stored; then NULL. [personal: identifier]';
COMMENT ON COLUMN clonedb.erasures.row_counts IS
'How many rows were erased, by table. [personal: none]';
COMMENT ON COLUMN clonedb.erasures.digest IS
'SHA-256 of id, user_digest, erased_at and row_counts (clonedb.receipt_digest). [personal: none]';
COMMENT ON COLUMN clonedb.erasures.waits_for IS
'The transactions that were open when the erasure was committed: they may have seen the person. NULL
until somebody has looked, none when all have ended. [personal: none]';
COMMENT ON COLUMN clonedb.erasures.erased_at IS 'When the person was erased. [personal: none]';
COMMENT ON COLUMN clonedb.erasures.reapplied_at IS
'When they were erased once more, after a restore, last; NULL if never. [personal: none]';
COMMENT ON COLUMN clonedb.erasures.closed_at IS
'When nothing was left to be done: no transaction of the time, no object in the store. NULL until then.
[personal: none]';

CREATE INDEX erasures_open ON clonedb.erasures (id) WHERE closed_at IS NULL;
COMMENT ON INDEX clonedb.erasures_open IS 'Receipts that are still open.';

-- Functions write it.
GRANT SELECT ON clonedb.erasures TO clonedb_worker, clonedb_dba, clonedb_backup;

ALTER TABLE clonedb.object_deletions ADD COLUMN erasure_id uuid;
COMMENT ON COLUMN clonedb.object_deletions.erasure_id IS
'The receipt that waits for it, of a person who was erased; NULL for other objects. No foreign key: the
row ends by itself. [personal: none]';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX object_deletions_erasure ON clonedb.object_deletions (erasure_id)
WHERE erasure_id IS NOT NULL;
COMMENT ON INDEX clonedb.object_deletions_erasure IS 'Whether a receipt still waits for objects.';

CREATE FUNCTION clonedb.person_digest(p_user_id uuid) RETURNS bytea
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
RETURN sha256(uuid_send(p_user_id));

COMMENT ON FUNCTION clonedb.person_digest(uuid) IS
'What the ledger knows a person by when they are erased.';

CREATE FUNCTION clonedb.receipt_digest(
    p_id uuid,
    p_user_digest bytea,
    p_erased_at timestamptz,
    p_row_counts jsonb
) RETURNS bytea
LANGUAGE sql
STABLE
PARALLEL SAFE
RETURN sha256(
    convert_to(
        concat_ws(
            E'\n',
            p_id,
            encode(p_user_digest, 'hex'),
            (extract(EPOCH FROM p_erased_at) * 1000000)::bigint,
            p_row_counts
        ),
        'UTF8'
    )
);

COMMENT ON FUNCTION clonedb.receipt_digest(uuid, bytea, timestamptz, jsonb) IS
'SHA-256 over four lines: the receipt''s id, the user''s digest in hexadecimal, the microseconds since
1970 at which they were erased, and the counts as PostgreSQL writes jsonb.';

CREATE FUNCTION clonedb.person_tables()
RETURNS TABLE (relation regclass, table_name text, user_column text, reference_columns text[], height integer)
LANGUAGE sql
STABLE
PARALLEL SAFE
ROWS 30
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    WITH RECURSIVE tables AS (
        SELECT
            c.oid,
            c.relname::text AS table_name
        FROM pg_class AS c
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND c.relkind IN ('r', 'p')
            AND (
                NOT c.relispartition
                -- A month that is half detached is not seen through its parent any more.
                OR EXISTS (
                    SELECT
                    FROM pg_inherits AS i
                    WHERE i.inhrelid = c.oid
                        AND i.inhdetachpending
                )
            )
    ),
    edges AS (
        SELECT DISTINCT
            k.conrelid AS child,
            k.confrelid AS parent
        FROM pg_constraint AS k
        WHERE k.contype = 'f'
            AND k.conparentid = 0
            AND k.conrelid <> k.confrelid
    ),
    heights (oid, height) AS (
        SELECT
            t.oid,
            0
        FROM tables AS t
        UNION
        SELECT
            e.parent,
            h.height + 1
        FROM heights AS h
        INNER JOIN edges AS e ON e.child = h.oid
        -- Deeper than any schema; it ends a circle of keys.
        WHERE h.height < 20
    ),
    described AS (
        SELECT
            t.oid,
            t.table_name,
            CASE
                WHEN t.oid = 'clonedb.users'::regclass THEN 'id'
                ELSE coalesce(
                    (
                        SELECT a.attname::text
                        FROM pg_attribute AS a
                        WHERE a.attrelid = t.oid
                            AND a.attname = 'user_id'
                            AND NOT a.attisdropped
                    ),
                    (
                        SELECT min(a.attname::text)
                        FROM pg_constraint AS k
                        INNER JOIN pg_attribute AS a
                            ON a.attrelid = t.oid AND a.attnum = k.conkey[1]
                        INNER JOIN pg_attribute AS target
                            ON target.attrelid = k.confrelid AND target.attnum = k.confkey[1]
                        WHERE k.conrelid = t.oid
                            AND k.contype = 'f'
                            AND k.confrelid = 'clonedb.users'::regclass
                            AND target.attname = 'id'
                    )
                )
            END AS user_column,
            ARRAY(
                SELECT a.attname::text
                FROM pg_attribute AS a
                WHERE a.attrelid = t.oid
                    AND t.oid <> 'clonedb.users'::regclass
                    AND a.attname IN ('actor_ref', 'subject_ref')
                    AND NOT a.attisdropped
                ORDER BY a.attname DESC
            ) AS reference_columns
        FROM tables AS t
    )
    SELECT
        d.oid::regclass,
        d.table_name,
        d.user_column,
        d.reference_columns,
        (
            SELECT max(h.height)
            FROM heights AS h
            WHERE h.oid = d.oid
        )
    FROM described AS d
    WHERE d.user_column IS NOT NULL
        OR cardinality(d.reference_columns) > 0
    ORDER BY d.table_name;
END;

COMMENT ON FUNCTION clonedb.person_tables() IS
'The tables that hold rows of people, as the catalogue shows them now. A person''s rows are those whose
user_column is their id; without one, those of which a reference column is their users.subject_ref. A
table that refers to others is lower (height) than those.';

CREATE FUNCTION clonedb.count_person_rows(p_user_id uuid)
RETURNS TABLE (table_name text, row_count bigint)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
ROWS 30
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_table record;
BEGIN
    FOR v_table IN
        SELECT
            t.table_name,
            t.user_column
        FROM clonedb.person_tables() AS t
        WHERE t.user_column IS NOT NULL
    LOOP
        EXECUTE format(
            'SELECT count(*) FROM clonedb.%I AS t WHERE t.%I = $1',
            v_table.table_name,
            v_table.user_column
        )
        USING p_user_id
        INTO row_count;
        table_name := v_table.table_name;
        RETURN NEXT;
    END LOOP;
END
$$;

COMMENT ON FUNCTION clonedb.count_person_rows(uuid) IS
'How many rows of a person there are in each table from which they would be erased.';

CREATE FUNCTION clonedb.remove_person_rows(p_user_id uuid, p_erasure_id uuid) RETURNS jsonb
LANGUAGE plpgsql
VOLATILE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_counts jsonb := '{}';
    v_table record;
    v_objects bigint;
    v_uploads bigint;
    v_rows bigint;
BEGIN
    -- Writers of turns first, so that what they are storing is seen and counted below.
    PERFORM
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = p_user_id
    ORDER BY s.id
    FOR UPDATE;

    -- Keys before rows: an object without its key lies in the store for ever.
    WITH removed_objects AS (
        DELETE FROM clonedb.stored_objects AS o
        WHERE o.user_id = p_user_id
        RETURNING o.object_key
    ),
    removed_uploads AS (
        DELETE FROM clonedb.object_uploads AS u
        WHERE u.user_id = p_user_id
        RETURNING
            u.object_key,
            u.expires_at
    ),
    left_in_the_store AS (
        INSERT INTO clonedb.object_deletions (object_key, due_at, erasure_id)
        SELECT
            removed_objects.object_key,
            statement_timestamp(),
            p_erasure_id
        FROM removed_objects
        UNION ALL
        -- Whoever uploads may still be at it: later what it has written is whole, and found.
        SELECT
            removed_uploads.object_key,
            removed_uploads.expires_at,
            p_erasure_id
        FROM removed_uploads
    )
    SELECT
        (SELECT count(*) FROM removed_objects),
        (SELECT count(*) FROM removed_uploads)
    INTO v_objects, v_uploads;

    FOR v_table IN
        SELECT
            t.table_name,
            t.user_column
        FROM clonedb.person_tables() AS t
        WHERE t.user_column IS NOT NULL
        ORDER BY
            t.height,
            t.table_name
    LOOP
        EXECUTE format(
            'DELETE FROM clonedb.%I AS t WHERE t.%I = $1',
            v_table.table_name,
            v_table.user_column
        ) USING p_user_id;
        GET DIAGNOSTICS v_rows = ROW_COUNT;
        v_rows := v_rows + CASE v_table.table_name
            WHEN 'stored_objects' THEN v_objects
            WHEN 'object_uploads' THEN v_uploads
            ELSE 0
        END;
        IF v_rows > 0 THEN
            v_counts := v_counts || jsonb_build_object(v_table.table_name, v_rows);
        END IF;
    END LOOP;

    -- What other processes remember of the caches.
    PERFORM pg_notify(
        'clonedb_caches',
        clonedb.cache_notice(
            p_user_id, ARRAY['embedding', 'vector_search', 'llm_response', 'audio_chunk']
        )
    );
    RETURN v_counts;
END
$$;

COMMENT ON FUNCTION clonedb.remove_person_rows(uuid, uuid) IS
'Deletes a person''s rows from every table that the catalogue shows, hands the keys of their objects to
the outbox, and returns how many rows went from where. For erase_user() and close_erasures().';

CREATE FUNCTION clonedb.erase_user(
    p_user_id uuid,
    p_deleted_before timestamptz DEFAULT NULL,
    OUT outcome text,
    OUT id uuid,
    OUT row_counts jsonb,
    OUT digest bytea,
    OUT erased_at timestamptz,
    OUT reapplied_at timestamptz,
    OUT closed_at timestamptz
)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_digest constant bytea := clonedb.person_digest(p_user_id);
    -- The login itself: inside of this function the owner is who runs it.
    v_may_name_anybody constant boolean := pg_has_role(session_user, 'clonedb_worker', 'USAGE')
        OR pg_has_role(session_user, 'clonedb_dba', 'USAGE');
    v_user record;
    v_known clonedb.erasures;
BEGIN
    outcome := 'unknown';
    IF NOT v_may_name_anybody AND p_user_id IS DISTINCT FROM clonedb.living_user_id() THEN
        RETURN;
    END IF;
    IF p_deleted_before IS NOT NULL THEN
        -- Upkeep comes back: it does not queue behind whoever has the user now.
        PERFORM set_config('lock_timeout', '300ms', true);
    END IF;
    -- Nobody stores anything that refers to the user from here on, and who has done so has ended.
    SELECT
        u.subject_ref,
        u.deleted_at
    INTO v_user
    FROM clonedb.users AS u
    WHERE u.id = p_user_id
    FOR UPDATE;
    IF FOUND AND (v_user.deleted_at < p_deleted_before) IS NOT TRUE
        AND p_deleted_before IS NOT NULL
    THEN
        outcome := 'not_deleted';
        RETURN;
    END IF;
    SELECT e.*
    INTO v_known
    FROM clonedb.erasures AS e
    WHERE e.user_digest = v_digest;
    IF v_user IS NULL AND v_known IS NULL THEN
        RETURN;
    END IF;

    IF v_user IS NULL THEN
        outcome := 'already_erased';
    ELSE
        outcome := 'erased';
        id := coalesce(v_known.id, clonedb.uuid_v7());
        row_counts := clonedb.remove_person_rows(p_user_id, id);
        INSERT INTO clonedb.audit_logs (
            actor_ref,
            subject_ref,
            action,
            resource,
            result
        )
        VALUES (
            CASE WHEN NOT v_may_name_anybody THEN v_user.subject_ref END,
            v_user.subject_ref,
            'user.erase',
            'users',
            'success'
        );
        -- A person who came back with a backup keeps the receipt that they have.
        INSERT INTO clonedb.erasures AS e (
            id,
            user_digest,
            open_user_id,
            row_counts,
            digest,
            erased_at
        )
        VALUES (
            erase_user.id,
            v_digest,
            p_user_id,
            erase_user.row_counts,
            clonedb.receipt_digest(
                erase_user.id, v_digest, statement_timestamp(), erase_user.row_counts
            ),
            statement_timestamp()
        )
        ON CONFLICT ON CONSTRAINT erasures_user_digest_is_unique DO UPDATE
        SET
            open_user_id = excluded.open_user_id,
            waits_for = NULL,
            reapplied_at = excluded.erased_at,
            closed_at = NULL
        RETURNING e.* INTO v_known;
    END IF;
    id := v_known.id;
    row_counts := coalesce(row_counts, v_known.row_counts);
    digest := v_known.digest;
    erased_at := v_known.erased_at;
    reapplied_at := v_known.reapplied_at;
    closed_at := v_known.closed_at;
END
$$;

COMMENT ON FUNCTION clonedb.erase_user(uuid, timestamptz) IS
'Removes a person from every table and cache, all or nothing, and returns their receipt. outcome says
what happened: erased; already_erased, with the receipt of then; not_deleted, where p_deleted_before is
given and the person was not deleted before it; unknown. A person who was erased before and came back
with a backup is erased again: row_counts are those of this time, digest is of the first. Under the app
login the context''s living user alone exists.';

CREATE FUNCTION clonedb.open_transactions() RETURNS text[]
LANGUAGE sql
STABLE
SET search_path = pg_catalog, pg_temp
BEGIN ATOMIC
    -- As CREATE INDEX CONCURRENTLY knows them. Without usesysid: the server's own upkeep.
    SELECT coalesce(array_agg(l.virtualtransaction ORDER BY l.virtualtransaction), '{}')
    FROM pg_locks AS l
    INNER JOIN pg_stat_activity AS a ON a.pid = l.pid
    INNER JOIN pg_database AS d ON d.oid = a.datid
    WHERE l.locktype = 'virtualxid'
        AND l.mode = 'ExclusiveLock'
        AND l.pid <> pg_backend_pid()
        AND a.usesysid IS NOT NULL
        AND d.datname = current_database();
END;

COMMENT ON FUNCTION clonedb.open_transactions() IS
'The transactions of this database that are open at this moment, but for the one that asks.';

CREATE FUNCTION clonedb.close_erasures(p_limit integer, OUT closed integer, OUT still_open integer)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_entry record;
    v_is_done boolean;
BEGIN
    closed := 0;
    FOR v_entry IN
        SELECT
            e.id,
            e.open_user_id,
            e.waits_for,
            greatest(e.erased_at, e.reapplied_at) AS forgotten_at
        FROM clonedb.erasures AS e
        WHERE e.closed_at IS NULL
            -- One that waits for nothing but objects is no work.
            AND NOT (
                coalesce(cardinality(e.waits_for) = 0, false)
                AND EXISTS (
                    SELECT
                    FROM clonedb.object_deletions AS d
                    WHERE d.erasure_id = e.id
                        OR (
                            d.erasure_id IS NULL
                            AND d.created_at <= greatest(e.erased_at, e.reapplied_at)
                        )
                )
            )
        ORDER BY e.id
        LIMIT p_limit
        FOR NO KEY UPDATE SKIP LOCKED
    LOOP
        IF v_entry.waits_for IS NULL THEN
            -- Asked now: whoever began before the erasure was committed is among them.
            v_entry.waits_for := clonedb.open_transactions();
            UPDATE clonedb.erasures AS e
            SET waits_for = v_entry.waits_for
            WHERE e.id = v_entry.id;
        END IF;
        CONTINUE WHEN v_entry.waits_for && clonedb.open_transactions();
        -- Whoever had seen the person is done, and what they have stored can be seen now.
        PERFORM clonedb.remove_person_rows(v_entry.open_user_id, v_entry.id);
        v_is_done := NOT EXISTS (
            SELECT
            FROM clonedb.object_deletions AS d
            WHERE d.erasure_id = v_entry.id
                -- What was deleted before does not say whose it was: all is waited for.
                OR (d.erasure_id IS NULL AND d.created_at <= v_entry.forgotten_at)
        );
        UPDATE clonedb.erasures AS e
        SET
            open_user_id = CASE WHEN NOT v_is_done THEN e.open_user_id END,
            waits_for = CASE WHEN NOT v_is_done THEN '{}'::text[] END,
            closed_at = CASE WHEN v_is_done THEN statement_timestamp() END
        WHERE e.id = v_entry.id;
        closed := closed + v_is_done::integer;
    END LOOP;
    still_open := (
        SELECT count(*)
        FROM clonedb.erasures AS e
        WHERE e.closed_at IS NULL
    );
END
$$;

COMMENT ON FUNCTION clonedb.close_erasures(integer) IS
'Closes up to p_limit receipts for which nothing is left to be done. One waits for the transactions that
were open when it was first looked at, after the erasure; then what they have stored of the person is
removed. And it waits for the objects in the store. Call it again until still_open is 0; it may run
twice at once.';

CREATE FUNCTION clonedb.import_erasures(p_entries jsonb) RETURNS integer
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_number bigint;
    v_imported integer;
BEGIN
    SELECT min(given.number)
    INTO v_number
    FROM jsonb_array_elements(p_entries) WITH ORDINALITY AS given (entry, number)
    WHERE clonedb.receipt_digest(
        (given.entry ->> 'id')::uuid,
        decode(given.entry ->> 'user_digest', 'hex'),
        (given.entry ->> 'erased_at')::timestamptz,
        given.entry -> 'row_counts'
    ) IS DISTINCT FROM decode(given.entry ->> 'digest', 'hex');
    IF v_number IS NOT NULL THEN
        RAISE EXCEPTION 'entry % of the ledger is not as it was written', v_number
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    -- Closed: what of them is there is erased next, and opens it.
    INSERT INTO clonedb.erasures (id, user_digest, row_counts, digest, erased_at, closed_at)
    SELECT DISTINCT ON (decode(given.entry ->> 'user_digest', 'hex'))
        (given.entry ->> 'id')::uuid,
        decode(given.entry ->> 'user_digest', 'hex'),
        given.entry -> 'row_counts',
        decode(given.entry ->> 'digest', 'hex'),
        (given.entry ->> 'erased_at')::timestamptz,
        coalesce((given.entry ->> 'closed_at')::timestamptz, statement_timestamp())
    FROM jsonb_array_elements(p_entries) AS given (entry)
    ORDER BY decode(given.entry ->> 'user_digest', 'hex')
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS v_imported = ROW_COUNT;
    RETURN v_imported;
END
$$;

COMMENT ON FUNCTION clonedb.import_erasures(jsonb) IS
'Adds entries of a copy of the ledger that this one lacks, and returns how many. An array of objects
with id, user_digest, row_counts, digest, erased_at and closed_at, digests in hexadecimal; raises 22023
where a receipt is not what its digest says.';

GRANT EXECUTE ON FUNCTION clonedb.erase_user(uuid, timestamptz)
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT EXECUTE ON FUNCTION
clonedb.close_erasures(integer),
clonedb.import_erasures(jsonb),
clonedb.count_person_rows(uuid),
clonedb.person_tables(),
clonedb.person_digest(uuid)
TO clonedb_worker, clonedb_dba;
