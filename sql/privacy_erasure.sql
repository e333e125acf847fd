-- Erasing people, and the ledger of those who were. The worker login's.
--
-- What belongs to a person is read from the catalogue, by functions of the database: a table that a
-- later migration adds is erased without a change here.

-- name: close_receipts(limit)^
-- Closes receipts for which nothing is left to be done, after removing what of the person was stored
-- by transactions that were open when they were erased.
-- access: write
-- lane: pool
-- timeout: 600 s
SELECT
    done.closed,
    done.still_open
FROM clonedb.close_erasures(:limit::integer) AS done;

-- name: count_rows(id)
-- How many rows of a person would be erased, by table; all at one moment.
-- lane: pool
-- timeout: 600 s
SELECT
    counted.table_name,
    counted.row_count
FROM clonedb.count_person_rows(:id::uuid) AS counted
ORDER BY counted.table_name;

-- name: erase(id, deleted_before)^
-- Removes a person from every table and cache, and says what happened.
-- access: write
-- lane: pool
-- timeout: 600 s
SELECT
    done.outcome,
    done.id,
    done.row_counts,
    done.digest,
    done.erased_at,
    done.reapplied_at,
    done.closed_at
FROM clonedb.erase_user(:id::uuid, :deleted_before::timestamptz) AS done;

-- name: find_present(previous_id, limit)
-- Users who are in the ledger, and there all the same: with a backup they came back.
-- lane: pool
-- timeout: 600 s
-- users: all
SELECT u.id
FROM clonedb.erasures AS e
INNER JOIN clonedb.users AS u ON e.user_digest = clonedb.person_digest(u.id)
WHERE u.id > :previous_id::uuid
ORDER BY u.id
LIMIT :limit::bigint;

-- name: find_progress(id)^
-- What a receipt still waits for.
SELECT
    e.closed_at,
    coalesce(cardinality(e.waits_for) = 0, false) AS transactions_have_ended,
    (
        SELECT count(*)
        FROM clonedb.object_deletions AS d
        WHERE d.erasure_id = e.id
    ) AS objects
FROM clonedb.erasures AS e
WHERE e.id = :id::uuid;

-- name: import_receipts(entries)$
-- Adds receipts of a copy of the ledger that this one lacks.
-- access: write
-- lane: pool
SELECT clonedb.import_erasures(:entries::jsonb);

-- name: ledger()
-- Every receipt, oldest first, as a copy of the ledger has it.
-- lane: pool
SELECT
    e.id,
    encode(e.user_digest, 'hex') AS user_digest,
    e.row_counts,
    encode(e.digest, 'hex') AS digest,
    e.erased_at,
    e.closed_at
FROM clonedb.erasures AS e
ORDER BY e.id;
