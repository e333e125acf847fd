-- Seals of the audit log: which entries there were, in batches, each with a digest over the one before.
--
-- An entry is encoded as the server sends a record: the number of columns, then for each the oid of
-- its type, its length (-1 for NULL) and its bytes; the texts as UTF-8 whatever the client's encoding.
-- clonedb.seal_audit_logs() does the same. It is said twice on purpose: what verifies comes with the
-- release that is installed where one verifies, and not from the database that is in question.

-- name: check_many(after_number, limit)
-- The next seals: whether their digests hold, and what is stored of the transactions they cover.
-- Entries are equal when every one is there as it was sealed, and no other.
-- users: all
-- lane: pool
SELECT
    s.number,
    s.system_identifier,
    s.from_xid::text::bigint AS from_xid,
    s.to_xid::text::bigint AS to_xid,
    s.entry_count,
    s.previous_digest,
    s.digest,
    s.sealed_at,
    coalesce(
        s.digest = sha256(
            record_send(
                ROW(
                    s.number,
                    s.system_identifier,
                    s.from_xid,
                    s.to_xid,
                    s.entry_count,
                    s.entries,
                    s.previous_digest,
                    s.sealed_at
                )
            )
        )
        AND octet_length(s.entries) = 48 * s.entry_count,
        false
    ) AS digest_holds,
    (stored.entries IS NOT DISTINCT FROM s.entries) AS entries_hold,
    stored.oldest_at,
    stored.newest_at,
    stored.lowest_id,
    stored.highest_id
FROM clonedb.audit_seals AS s
CROSS JOIN LATERAL (
    SELECT
        string_agg(
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
        ) AS entries,
        min(l.created_at) AS oldest_at,
        max(l.created_at) AS newest_at,
        min(l.id::text COLLATE pg_catalog."C") AS lowest_id,
        max(l.id::text COLLATE pg_catalog."C") AS highest_id
    FROM clonedb.audit_logs AS l
    WHERE l.system_identifier = s.system_identifier
        AND l.xid >= s.from_xid
        AND l.xid < s.to_xid
) AS stored
WHERE s.number > :after_number::bigint
ORDER BY s.number
LIMIT :limit::bigint;

-- name: find_elsewhere(ids)
-- Where entries are, whatever transaction they say they are of.
-- users: all
-- lane: pool
SELECT
    l.id,
    l.system_identifier,
    l.xid::text::bigint AS xid
FROM clonedb.audit_logs AS l
WHERE l.id = ANY(:ids::uuid[])
ORDER BY l.id;

-- name: find_entries(number)$
-- What a seal says of its entries: 16 bytes of id and 32 of digest for each.
-- lane: pool
SELECT s.entries
FROM clonedb.audit_seals AS s
WHERE s.number = :number::bigint;

-- name: find_horizons(before_number)
-- How far the seals before this one cover each server's transactions.
-- plan: scan audit_seals
-- lane: pool
SELECT
    s.system_identifier,
    coalesce((array_agg(s.to_xid::text::bigint ORDER BY s.number DESC))[1], 0) AS to_xid
FROM clonedb.audit_seals AS s
WHERE s.number < :before_number::bigint
GROUP BY s.system_identifier
ORDER BY s.system_identifier;

-- name: find_implausible(system_identifier, to_xid, is_here, before, limit)
-- The pending entries of a server that are none, as find_pending counts them.
-- users: all
-- lane: pool
SELECT
    l.id,
    l.created_at,
    coalesce(
        :is_here::boolean
        AND l.xid >= pg_snapshot_xmax(pg_current_snapshot()),
        false
    ) AS of_a_transaction_to_come
FROM clonedb.audit_logs AS l
WHERE l.system_identifier = :system_identifier::bigint
    AND l.xid >= :to_xid::bigint::text::xid8
    AND (
        l.created_at < :before::timestamptz
        OR l.created_at > clock_timestamp() + interval '1 day'
        OR :is_here::boolean AND l.xid >= pg_snapshot_xmax(pg_current_snapshot())
    )
ORDER BY
    l.xid,
    l.id
LIMIT :limit::bigint;

-- name: find_last(before_number)^
-- The newest seal below a number.
SELECT
    s.number,
    s.entry_count,
    s.digest,
    s.sealed_at
FROM clonedb.audit_seals AS s
WHERE s.number < :before_number::bigint
ORDER BY s.number DESC
LIMIT 1;

-- name: find_months()
-- The ids that there are partitions for, from the first and below the second.
-- Of the catalogue, which every login may read.
-- lane: pool
WITH month AS (
    SELECT
        (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'FROM \(''([0-9a-f-]{36})''\)'))[1]::uuid
            AS floor_id,
        (regexp_match(pg_get_expr(c.relpartbound, c.oid), 'TO \(''([0-9a-f-]{36})''\)'))[1]::uuid
            AS ceiling_id
    FROM pg_inherits AS i
    INNER JOIN pg_class AS c ON c.oid = i.inhrelid
    WHERE i.inhparent = 'clonedb.audit_logs'::regclass
        AND NOT i.inhdetachpending
)
SELECT
    month.floor_id,
    month.ceiling_id
FROM month
WHERE month.floor_id IS NOT NULL
    AND month.ceiling_id IS NOT NULL
ORDER BY month.floor_id;

-- name: find_pending(system_identifiers, horizons, before)
-- What no seal covers yet, by server, and how much of that is not what a pending entry can be:
-- of a transaction or a time to come, or of a time long before that of what was sealed.
-- users: all
-- lane: pool
WITH RECURSIVE here AS MATERIALIZED (
    SELECT c.system_identifier
    FROM pg_control_system() AS c
),
known (system_identifier) AS (
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
),
horizon AS (
    SELECT
        known.system_identifier,
        coalesce(given.to_xid::text::xid8, '0'::xid8) AS to_xid,
        coalesce(known.system_identifier = here.system_identifier, false) AS is_here
    FROM known
    CROSS JOIN here
    LEFT JOIN unnest(:system_identifiers::bigint[], :horizons::bigint[])
        AS given (system_identifier, to_xid)
        ON given.system_identifier = known.system_identifier
    WHERE known.system_identifier IS NOT NULL
)
SELECT
    horizon.system_identifier,
    horizon.is_here,
    pending.entries,
    pending.implausible
FROM horizon
CROSS JOIN LATERAL (
    SELECT
        count(*) AS entries,
        count(*) FILTER (
            WHERE l.created_at < :before::timestamptz
                OR l.created_at > clock_timestamp() + interval '1 day'
                OR horizon.is_here AND l.xid >= pg_snapshot_xmax(pg_current_snapshot())
        ) AS implausible
    FROM clonedb.audit_logs AS l
    WHERE l.system_identifier = horizon.system_identifier
        AND l.xid >= horizon.to_xid
) AS pending
ORDER BY horizon.system_identifier;

-- name: find_stored(system_identifier, from_xid, to_xid)
-- The entries of a range of transactions, with their digests.
-- users: all
-- lane: pool
SELECT
    l.id,
    coalesce(
        sha256(
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
        ''::bytea
    ) AS digest,
    l.created_at
FROM clonedb.audit_logs AS l
WHERE l.system_identifier = :system_identifier::bigint
    AND l.xid >= :from_xid::bigint::text::xid8
    AND l.xid < :to_xid::bigint::text::xid8
ORDER BY
    l.xid,
    l.id;

-- name: seal(limit)^
-- Seals the next entries; no row where there is nothing to seal, or another is sealing.
-- access: write
-- lane: pool
SELECT
    s.number,
    s.entry_count,
    s.digest,
    s.sealed_at
FROM clonedb.seal_audit_logs(:limit::integer) AS s;
