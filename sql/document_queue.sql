-- The queue of documents, across users, for the worker login.
--
-- A claim is the pair of attempts and claimed_by: attempts only ever grows, so what a worker was
-- given is told from every later claim. Whatever ends or extends a claim locks the row, and answers
-- with the reason where the claim is no longer the worker's.

-- name: claim_pending(worker, lease_seconds, maximum_attempts, limit, now)
-- Gives a worker documents that nobody else has: abandoned ones first, then the oldest pending.
-- A claim whose lease is over is abandoned. After maximum_attempts of them the document has failed.
-- SKIP LOCKED: workers that ask at once pass each other's rows by instead of waiting. A plan for any
-- limit expects a tenth of the queue, and reads every document to update ten.
-- lane: pool
-- plan_cache_mode: force_custom_plan
-- users: all
WITH moment AS (
    SELECT
        coalesce(:now::timestamptz, statement_timestamp()) AS now,
        -- Of nobody, the table refuses a claim.
        coalesce(:worker::text, '') AS worker,
        make_interval(secs => coalesce(:lease_seconds::double precision, 0)) AS lease
),
exhausted AS (
    SELECT
        d.user_id,
        d.id
    FROM clonedb.knowledge_documents AS d
    WHERE d.status = 'processing'
        AND d.deleted_at IS NULL
        AND d.lease_expires_at <= (SELECT moment.now FROM moment)
        AND d.attempts >= :maximum_attempts::bigint
    ORDER BY
        d.lease_expires_at,
        d.id
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
failed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = 'failed',
        error_message = 'abandoned by its worker in attempt ' || d.attempts,
        processed_at = statement_timestamp(),
        lease_expires_at = NULL,
        updated_at = statement_timestamp()
    FROM exhausted
    WHERE d.user_id = exhausted.user_id
        AND d.id = exhausted.id
    RETURNING d.id
),
abandoned AS (
    SELECT
        d.user_id,
        d.id,
        d.lease_expires_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.status = 'processing'
        AND d.deleted_at IS NULL
        AND d.lease_expires_at <= (SELECT moment.now FROM moment)
        AND d.attempts < :maximum_attempts::bigint
    ORDER BY
        d.lease_expires_at,
        d.id
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
pending AS (
    SELECT
        d.user_id,
        d.id,
        d.uploaded_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.status = 'pending'
        AND d.deleted_at IS NULL
    ORDER BY
        d.uploaded_at,
        d.id
    LIMIT :limit::bigint
    FOR NO KEY UPDATE SKIP LOCKED
),
-- What is locked and not chosen is free again at the end of the statement.
chosen AS (
    SELECT
        abandoned.user_id,
        abandoned.id,
        1 AS turn,
        abandoned.lease_expires_at AS since
    FROM abandoned
    UNION ALL
    SELECT
        pending.user_id,
        pending.id,
        2 AS turn,
        pending.uploaded_at AS since
    FROM pending
    ORDER BY
        turn,
        since,
        id
    LIMIT :limit::bigint
),
claimed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = 'processing',
        attempts = d.attempts + 1,
        claimed_at = moment.now,
        claimed_by = moment.worker,
        lease_expires_at = moment.now + moment.lease,
        updated_at = statement_timestamp()
    FROM chosen, moment
    WHERE d.user_id = chosen.user_id
        AND d.id = chosen.id
    RETURNING
        d.user_id,
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.language,
        d.storage_path,
        d.metadata,
        d.uploaded_at,
        d.attempts,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at
)
SELECT
    claimed.user_id,
    claimed.id,
    claimed.filename,
    claimed.content_type,
    claimed.size_bytes,
    claimed.language,
    claimed.storage_path,
    claimed.metadata,
    claimed.uploaded_at,
    claimed.attempts,
    claimed.claimed_at,
    claimed.claimed_by,
    claimed.lease_expires_at
FROM claimed
ORDER BY
    claimed.uploaded_at,
    claimed.id;

-- name: extend(user_id, id, attempts, worker, lease_seconds)^
-- Gives a held claim a new lease from now on.
WITH locked AS (
    SELECT
        d.user_id,
        d.id,
        d.status,
        d.attempts,
        d.claimed_by,
        d.deleted_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.deleted_at IS NOT NULL THEN 'deleted'
            WHEN locked.attempts <> :attempts::bigint THEN 'claimed_again'
            WHEN coalesce(locked.claimed_by, '') <> :worker::text THEN 'released'
            WHEN locked.status = 'processing' THEN 'held'
            ELSE 'over'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        lease_expires_at = statement_timestamp()
            + make_interval(secs => :lease_seconds::double precision),
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE d.user_id = locked.user_id
        AND d.id = locked.id
        AND verdict.outcome = 'held'
    RETURNING d.lease_expires_at
)
SELECT
    coalesce(verdict.outcome, 'deleted') AS outcome,
    changed.lease_expires_at
FROM (VALUES (1)) AS always
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: fail(user_id, id, attempts, worker, error_message)^
-- Ends a held claim: the document has failed, for this reason.
WITH locked AS (
    SELECT
        d.user_id,
        d.id,
        d.status,
        d.attempts,
        d.claimed_by,
        d.deleted_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.deleted_at IS NOT NULL THEN 'deleted'
            WHEN locked.attempts <> :attempts::bigint THEN 'claimed_again'
            WHEN coalesce(locked.claimed_by, '') <> :worker::text THEN 'released'
            WHEN locked.status = 'processing' THEN 'held'
            WHEN locked.status = 'failed' THEN 'repeated'
            ELSE 'over'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = 'failed',
        error_message = :error_message::text,
        processed_at = statement_timestamp(),
        lease_expires_at = NULL,
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE d.user_id = locked.user_id
        AND d.id = locked.id
        AND verdict.outcome = 'held'
    RETURNING d.processed_at
)
SELECT
    coalesce(verdict.outcome, 'deleted') AS outcome,
    changed.processed_at
FROM (VALUES (1)) AS always
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: finish(user_id, id, attempts, worker, vector_ids, chunk_count, text_content)^
-- Ends a held claim: the document is completed, and no error of before is left.
-- lane: pool
WITH locked AS (
    SELECT
        d.user_id,
        d.id,
        d.status,
        d.attempts,
        d.claimed_by,
        d.deleted_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.deleted_at IS NOT NULL THEN 'deleted'
            WHEN locked.attempts <> :attempts::bigint THEN 'claimed_again'
            WHEN coalesce(locked.claimed_by, '') <> :worker::text THEN 'released'
            WHEN locked.status = 'processing' THEN 'held'
            WHEN locked.status = 'completed' THEN 'repeated'
            ELSE 'over'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = 'completed',
        error_message = NULL,
        processed_at = statement_timestamp(),
        lease_expires_at = NULL,
        vector_ids = :vector_ids::text[],
        chunk_count = :chunk_count::bigint,
        text_content = :text_content::text,  -- filter: text
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE d.user_id = locked.user_id
        AND d.id = locked.id
        AND verdict.outcome = 'held'
    RETURNING d.processed_at
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['vector_search', 'llm_response']
    FROM changed
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    coalesce(verdict.outcome, 'deleted') AS outcome,
    changed.processed_at
FROM (VALUES (1)) AS always
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: release(user_id, id, attempts, worker)^
-- Gives a held claim back: the document is pending again, and its attempt stays counted.
WITH locked AS (
    SELECT
        d.user_id,
        d.id,
        d.status,
        d.attempts,
        d.claimed_by,
        d.deleted_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    FOR NO KEY UPDATE
),
verdict AS (
    SELECT
        CASE
            WHEN locked.deleted_at IS NOT NULL THEN 'deleted'
            WHEN locked.attempts <> :attempts::bigint THEN 'claimed_again'
            WHEN coalesce(locked.claimed_by, '') <> :worker::text THEN 'released'
            WHEN locked.status = 'processing' THEN 'held'
            ELSE 'over'
        END AS outcome
    FROM locked
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = 'pending',
        error_message = NULL,
        processed_at = NULL,
        claimed_at = NULL,
        claimed_by = NULL,
        lease_expires_at = NULL,
        updated_at = statement_timestamp()
    FROM locked, verdict
    WHERE d.user_id = locked.user_id
        AND d.id = locked.id
        AND verdict.outcome = 'held'
    RETURNING d.uploaded_at
)
SELECT
    coalesce(verdict.outcome, 'deleted') AS outcome,
    changed.uploaded_at
FROM (VALUES (1)) AS always
LEFT JOIN verdict ON true
LEFT JOIN changed ON true;

-- name: statistics()^
-- How long the queue is, through its indexes alone; failed and completed documents are not in it.
-- users: all
-- plan: scan knowledge_documents
SELECT
    (
        SELECT count(*)
        FROM clonedb.knowledge_documents AS d
        WHERE d.status = 'pending'
            AND d.deleted_at IS NULL
    ) AS pending,
    (
        SELECT count(*)
        FROM clonedb.knowledge_documents AS d
        WHERE d.status = 'processing'
            AND d.deleted_at IS NULL
    ) AS processing,
    (
        SELECT count(*)
        FROM clonedb.knowledge_documents AS d
        WHERE d.status = 'processing'
            AND d.deleted_at IS NULL
            AND d.lease_expires_at <= statement_timestamp()
    ) AS abandoned,
    (
        SELECT d.uploaded_at
        FROM clonedb.knowledge_documents AS d
        WHERE d.status = 'pending'
            AND d.deleted_at IS NULL
        ORDER BY
            d.uploaded_at,
            d.id
        LIMIT 1
    ) AS oldest_pending_at;
