-- Creates the function that seals the audit log.
-- depends: 0025_create_cache_upkeep
-- why: a seal says which entries there are, so that one that is changed, removed or put in later is
--   found. Only this function writes seals, and it takes what it writes from the log alone.
-- phase: before deploy
-- locks: none
-- rollback: drops the function; the seals stay

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.seal_audit_logs(p_limit integer)
RETURNS TABLE (number bigint, entry_count bigint, digest bytea, sealed_at timestamptz)
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c_end constant xid8 := '9223372036854775807';
    v_here constant bigint := (SELECT c.system_identifier FROM pg_control_system() AS c);
    v_horizon xid8;
    v_system bigint;
    v_from xid8;
    v_to xid8;
    v_last xid8;
    v_full xid8;
    v_entries bytea;
    v_before record;
BEGIN
    IF p_limit IS NULL OR p_limit NOT BETWEEN 1 AND 100000 THEN
        RAISE EXCEPTION 'cannot seal % entries at once', p_limit
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Between 1 and 100,000.';
    END IF;
    IF NOT pg_try_advisory_xact_lock(hashtextextended('clonedb audit seals', 0)) THEN
        RETURN;
    END IF;

    -- Every transaction below has ended, and the statements after this one see what it has written.
    v_horizon := pg_snapshot_xmin(pg_current_snapshot());
    SELECT
        s.number,
        s.digest
    INTO v_before
    FROM clonedb.audit_seals AS s
    ORDER BY s.number DESC
    LIMIT 1;

    -- Transactions of another server, in a dump that was restored here, have all ended: those first.
    FOR v_system IN
        WITH RECURSIVE known (system_identifier) AS (
            SELECT min(l.system_identifier)
            FROM clonedb.audit_logs AS l
            UNION ALL
            SELECT (
                SELECT min(l.system_identifier)
                FROM clonedb.audit_logs AS l
                WHERE l.system_identifier > known.system_identifier
            )
            FROM known
            WHERE known.system_identifier IS NOT NULL
        )
        SELECT known.system_identifier
        FROM known
        WHERE known.system_identifier IS NOT NULL
        ORDER BY
            (known.system_identifier = v_here),
            known.system_identifier
    LOOP
        v_from := coalesce(
            (
                SELECT s.to_xid
                FROM clonedb.audit_seals AS s
                WHERE s.system_identifier = v_system
                ORDER BY s.from_xid DESC
                LIMIT 1
            ),
            '0'::xid8
        );
        v_to := CASE WHEN v_system = v_here THEN v_horizon ELSE c_end END;
        v_last := (
            SELECT l.xid
            FROM clonedb.audit_logs AS l
            WHERE l.system_identifier = v_system
                AND l.xid >= v_from
                AND l.xid < v_to
            ORDER BY l.xid DESC
            LIMIT 1
        );
        CONTINUE WHEN v_last IS NULL;
        v_full := (
            SELECT l.xid
            FROM clonedb.audit_logs AS l
            WHERE l.system_identifier = v_system
                AND l.xid >= v_from
                AND l.xid < v_to
            ORDER BY l.xid ASC
            OFFSET p_limit - 1
            LIMIT 1
        );
        -- Whole transactions; and as far as this server's have ended, where no batch is full.
        IF v_full IS NOT NULL OR v_to = c_end THEN
            v_to := (coalesce(v_full, v_last)::text::bigint + 1)::text::xid8;
        END IF;
        EXIT;
    END LOOP;
    IF v_last IS NULL THEN
        RETURN;
    END IF;

    -- An entry is encoded as the server sends a record: the number of columns, and for each the oid
    -- of its type, its length (-1 for NULL) and its bytes. sql/audit_seals.sql has the same.
    v_entries := (
        SELECT string_agg(
            uuid_send(l.id)
            || sha256(
                record_send(
                    ROW(
                        l.id,
                        l.actor_ref,
                        l.subject_ref,
                        convert_to(l.action, 'UTF8'),
                        convert_to(l.resource, 'UTF8'),
                        convert_to(l.result, 'UTF8'),
                        l.system_identifier,
                        l.xid,
                        l.created_at
                    )
                )
            ),
            ''
            ORDER BY l.xid, l.id
        )
        FROM clonedb.audit_logs AS l
        WHERE l.system_identifier = v_system
            AND l.xid >= v_from
            AND l.xid < v_to
    );
    number := coalesce(v_before.number, 0) + 1;
    entry_count := octet_length(v_entries) / 48;
    sealed_at := clock_timestamp();
    v_before.digest := coalesce(v_before.digest, decode(repeat('00', 32), 'hex'));
    digest := sha256(
        record_send(
            ROW(
                number,
                v_system,
                v_from,
                v_to,
                entry_count,
                v_entries,
                v_before.digest,
                sealed_at
            )
        )
    );
    INSERT INTO clonedb.audit_seals (
        number,
        system_identifier,
        from_xid,
        to_xid,
        entry_count,
        entries,
        previous_digest,
        digest,
        sealed_at
    )
    VALUES (
        seal_audit_logs.number,
        v_system,
        v_from,
        v_to,
        seal_audit_logs.entry_count,
        v_entries,
        v_before.digest,
        seal_audit_logs.digest,
        seal_audit_logs.sealed_at
    );
    RETURN NEXT;
END
$$;

COMMENT ON FUNCTION clonedb.seal_audit_logs(integer) IS
'Seals the next entries of the audit log, p_limit of them or as many as one transaction has written,
and returns the new seal; no row where nothing is to be sealed, or another is sealing. Entries of a
transaction that is older than one still open wait for it.';

GRANT EXECUTE ON FUNCTION clonedb.seal_audit_logs(integer) TO clonedb_worker;
