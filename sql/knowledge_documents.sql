-- Knowledge documents: what a user gave their clone to read. Work across users is in
-- document_queue.sql.
--
-- A document may hold 10 MiB of text and 100,000 ids of vectors: lists and writes return it without
-- either. Filters by tags are no index conditions, since their operators are not leakproof: they
-- are applied to the user's own rows as the page's index brings them.

-- name: count(user_id, status, tags_any, tags_all, uploaded_from, uploaded_before)$
-- How many of a user's documents match.
SELECT count(*)
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.deleted_at IS NULL  -- unless: include_deleted
    AND d.status = :status::text  -- filter: status
    AND d.tags && :tags_any::text[]  -- filter: tags_any
    AND d.tags @> :tags_all::text[]  -- filter: tags_all
    AND d.uploaded_at >= :uploaded_from::timestamptz  -- filter: uploaded_from
    AND d.uploaded_at < :uploaded_before::timestamptz;  -- filter: uploaded_before

-- name: create(user_id, id, filename, content_type, size_bytes, title, author, source_url, tags, language, text_content, storage_path, uploaded_at, metadata)^
-- Stores a pending document, or returns the one already stored under the same id.
-- Without a language it has the one of its user's settings. Text is compared here, not sent back.
-- lane: pool
WITH changed AS (
    INSERT INTO clonedb.knowledge_documents AS d (
        user_id,
        id,
        filename,
        content_type,
        size_bytes,
        title,
        author,
        source_url,
        tags,
        language,
        text_content,
        storage_path,
        uploaded_at,
        metadata
    )
    VALUES (
        :user_id::uuid,
        coalesce(:id::uuid, clonedb.uuid_v7()),
        :filename::text,
        :content_type::text,
        :size_bytes::bigint,
        :title::text,
        :author::text,
        :source_url::text,
        :tags::text[],
        coalesce(:language::text, clonedb.document_language(:user_id::uuid)),
        :text_content::text,
        :storage_path::text,
        coalesce(:uploaded_at::timestamptz, statement_timestamp()),
        :metadata::jsonb
    )
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at,
        coalesce(d.text_content = :text_content::text, :text_content::text IS NULL) AS same_text,
        (d.xmax = 0) AS created
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.upload',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE changed.created
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at,
    changed.same_text
FROM changed;

-- name: create_many(user_id, rows)
-- Stores many documents from one array of JSON objects; those already stored come back as they are.
-- lane: pool
WITH given AS (
    SELECT
        coalesce(one.id, clonedb.uuid_v7()) AS id,
        one.filename,
        one.content_type,
        one.size_bytes,
        one.title,
        one.author,
        one.source_url,
        one.tags,
        one.language,
        one.text_content,
        one.storage_path,
        one.uploaded_at,
        one.metadata
    FROM json_to_recordset(:rows::json) AS one (
        id uuid,
        filename text,
        content_type text,
        size_bytes bigint,
        title text,
        author text,
        source_url text,
        tags text[],
        language text,
        text_content text,
        storage_path text,
        uploaded_at timestamptz,
        metadata jsonb
    )
),
stored AS (
    INSERT INTO clonedb.knowledge_documents AS d (
        user_id,
        id,
        filename,
        content_type,
        size_bytes,
        title,
        author,
        source_url,
        tags,
        language,
        text_content,
        storage_path,
        uploaded_at,
        metadata
    )
    SELECT
        :user_id::uuid,
        given.id,
        given.filename,
        given.content_type,
        given.size_bytes,
        given.title,
        given.author,
        given.source_url,
        given.tags,
        coalesce(given.language, clonedb.document_language(:user_id::uuid)),
        given.text_content,
        given.storage_path,
        coalesce(given.uploaded_at, statement_timestamp()),
        given.metadata
    FROM given
    ORDER BY given.id
    ON CONFLICT (user_id, id) DO UPDATE SET id = excluded.id
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at,
        d.text_content,
        (d.xmax = 0) AS created
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.upload',
        'knowledge_documents/' || stored.id,
        'success'
    FROM stored
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE stored.created
),
dropped_caches AS (
    INSERT INTO clonedb.cache_changes AS ch (
        user_id,
        caches
    )
    SELECT DISTINCT
        :user_id::uuid,
        ARRAY['vector_search', 'llm_response']
    FROM stored
    ON CONFLICT (user_id, xid) DO UPDATE SET caches = ch.caches || excluded.caches
    RETURNING pg_notify('clonedb_caches', clonedb.cache_notice(ch.user_id, ch.caches))
)
SELECT
    stored.id,
    stored.filename,
    stored.content_type,
    stored.size_bytes,
    stored.title,
    stored.author,
    stored.source_url,
    stored.tags,
    stored.language,
    stored.chunk_count,
    stored.status,
    stored.error_message,
    stored.claimed_at,
    stored.claimed_by,
    stored.lease_expires_at,
    stored.attempts,
    stored.storage_path,
    stored.uploaded_at,
    stored.processed_at,
    stored.metadata,
    stored.created_at,
    stored.updated_at,
    stored.deleted_at,
    coalesce(stored.text_content = given.text_content, given.text_content IS NULL) AS same_text
FROM stored
INNER JOIN given ON given.id = stored.id
ORDER BY stored.id;

-- name: delete(user_id, id)$
-- Hides a living document.
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        deleted_at = statement_timestamp(),
        updated_at = statement_timestamp()
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
        AND d.deleted_at IS NULL
    RETURNING
        d.id,
        d.deleted_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.delete',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
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
SELECT changed.deleted_at
FROM changed;

-- name: exists(user_id, status, tags_any, tags_all, uploaded_from, uploaded_before)$
-- Whether any of a user's documents matches.
SELECT EXISTS (
    SELECT
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.deleted_at IS NULL  -- unless: include_deleted
        AND d.status = :status::text  -- filter: status
        AND d.tags && :tags_any::text[]  -- filter: tags_any
        AND d.tags @> :tags_all::text[]  -- filter: tags_all
        AND d.uploaded_at >= :uploaded_from::timestamptz  -- filter: uploaded_from
        AND d.uploaded_at < :uploaded_before::timestamptz  -- filter: uploaded_before
);

-- name: find_by_id(user_id, id)^
-- One document, with its text and the ids of its vectors.
-- lane: pool
-- plan: index knowledge_documents_pkey
-- rows <= 1
SELECT
    d.id,
    d.filename,
    d.content_type,
    d.size_bytes,
    d.title,
    d.author,
    d.source_url,
    d.tags,
    d.language,
    d.chunk_count,
    d.status,
    d.error_message,
    d.claimed_at,
    d.claimed_by,
    d.lease_expires_at,
    d.attempts,
    d.storage_path,
    d.uploaded_at,
    d.processed_at,
    d.metadata,
    d.created_at,
    d.updated_at,
    d.deleted_at,
    d.text_content,
    d.vector_ids
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.id = :id::uuid
    AND d.deleted_at IS NULL;  -- unless: include_deleted

-- name: find_many(user_id, status, tags_any, tags_all, uploaded_from, uploaded_before, after_uploaded_at, after_id, limit)
-- One page of a user's documents, without their text.
-- rows <= 500
SELECT
    d.id,
    d.filename,
    d.content_type,
    d.size_bytes,
    d.title,
    d.author,
    d.source_url,
    d.tags,
    d.language,
    d.chunk_count,
    d.status,
    d.error_message,
    d.claimed_at,
    d.claimed_by,
    d.lease_expires_at,
    d.attempts,
    d.storage_path,
    d.uploaded_at,
    d.processed_at,
    d.metadata,
    d.created_at,
    d.updated_at,
    d.deleted_at
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.knowledge_documents AS d  -- when: with_total
        WHERE d.user_id = :user_id::uuid  -- when: with_total
            AND d.deleted_at IS NULL  -- when: with_total; unless: include_deleted
            AND d.status = :status::text  -- when: with_total; filter: status
            AND d.tags && :tags_any::text[]  -- when: with_total; filter: tags_any
            AND d.tags @> :tags_all::text[]  -- when: with_total; filter: tags_all
            AND d.uploaded_at >= :uploaded_from::timestamptz  -- when: with_total; filter: uploaded_from
            AND d.uploaded_at < :uploaded_before::timestamptz  -- when: with_total; filter: uploaded_before
    ) AS total  -- when: with_total
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.deleted_at IS NULL  -- unless: include_deleted
    AND d.status = :status::text  -- filter: status
    AND d.tags && :tags_any::text[]  -- filter: tags_any
    AND d.tags @> :tags_all::text[]  -- filter: tags_all
    AND d.uploaded_at >= :uploaded_from::timestamptz  -- filter: uploaded_from
    AND d.uploaded_at < :uploaded_before::timestamptz  -- filter: uploaded_before
    AND (d.uploaded_at, d.id) < (:after_uploaded_at::timestamptz, :after_id::uuid)  -- after: newest
    AND (d.uploaded_at, d.id) > (:after_uploaded_at::timestamptz, :after_id::uuid)  -- after: oldest
ORDER BY d.uploaded_at DESC, d.id DESC  -- order: newest
ORDER BY d.uploaded_at ASC, d.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: find_summary(user_id, id)^
-- One document without its text, for whoever asks how far it is.
SELECT
    d.id,
    d.filename,
    d.content_type,
    d.size_bytes,
    d.title,
    d.author,
    d.source_url,
    d.tags,
    d.language,
    d.chunk_count,
    d.status,
    d.error_message,
    d.claimed_at,
    d.claimed_by,
    d.lease_expires_at,
    d.attempts,
    d.storage_path,
    d.uploaded_at,
    d.processed_at,
    d.metadata,
    d.created_at,
    d.updated_at,
    d.deleted_at
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.id = :id::uuid
    AND d.deleted_at IS NULL;  -- unless: include_deleted

-- name: hard_delete(user_id, id, deleted_before, failed_before)$
-- Removes a document, living or deleted.
WITH changed AS (
    DELETE FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
        AND d.deleted_at < :deleted_before::timestamptz  -- filter: deleted_before
        AND d.status = 'failed' AND d.uploaded_at < :failed_before::timestamptz  -- filter: failed_before
    RETURNING d.id
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.erase',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
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
SELECT changed.id
FROM changed;

-- name: restore(user_id, id)^
-- Brings a deleted document back; one that is not deleted stays as it is.
WITH locked AS (
    SELECT
        d.id,
        d.deleted_at
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        deleted_at = NULL,
        updated_at = CASE WHEN d.deleted_at IS NULL THEN d.updated_at ELSE statement_timestamp() END
    FROM locked
    WHERE d.user_id = :user_id::uuid
        AND d.id = locked.id
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.restore',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN locked ON locked.id = changed.id
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
    WHERE locked.deleted_at IS NOT NULL
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: search(user_id, query, languages, limit)
-- The documents that match best, with the places that match.
-- The function finds them through the full-text index, which row-level security keeps from a
-- statement of the app, and gives ids and ranks alone: what is shown is read here, under the
-- policies. Snippets are made for what is returned, since each takes parsing its text again.
-- lane: pool
SELECT
    d.id,
    d.filename,
    d.content_type,
    d.size_bytes,
    d.title,
    d.author,
    d.source_url,
    d.tags,
    d.language,
    d.chunk_count,
    d.status,
    d.error_message,
    d.claimed_at,
    d.claimed_by,
    d.lease_expires_at,
    d.attempts,
    d.storage_path,
    d.uploaded_at,
    d.processed_at,
    d.metadata,
    d.created_at,
    d.updated_at,
    d.deleted_at,
    matching.rank,
    ts_headline(
        ('pg_catalog.' || d.language)::regconfig,
        left(d.text_content, 100000),
        websearch_to_tsquery(('pg_catalog.' || d.language)::regconfig, :query::text),
        'StartSel=⟦, StopSel=⟧, MaxFragments=2, MaxWords=30, MinWords=10, FragmentDelimiter=" … "'
    ) AS snippet
FROM clonedb.search_documents(:query::text, :languages::text[], :limit::bigint) AS matching
INNER JOIN clonedb.knowledge_documents AS d
    ON d.user_id = :user_id::uuid
    AND d.id = matching.id
WHERE d.deleted_at IS NULL
ORDER BY
    matching.rank DESC,
    d.id DESC
LIMIT :limit::bigint;

-- name: set_status(user_id, id, status, error_message)^
-- Moves a living document to a status, with the moment and the error that belong to it.
-- The claim goes, but for a document that is being processed and stays so: from then on its
-- worker's finish is refused. A status that it has already keeps its moment.
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        status = :status::text,
        error_message = :error_message::text,
        processed_at = CASE
            WHEN :status::text NOT IN ('completed', 'failed') THEN NULL
            WHEN d.status = :status::text THEN coalesce(d.processed_at, statement_timestamp())
            ELSE statement_timestamp()
        END,
        claimed_at = CASE WHEN d.status = :status::text THEN d.claimed_at END,
        claimed_by = CASE WHEN d.status = :status::text THEN d.claimed_by END,
        lease_expires_at = CASE WHEN d.status = :status::text THEN d.lease_expires_at END,
        updated_at = statement_timestamp()
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
        AND d.deleted_at IS NULL
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: set_vectors(user_id, id, vector_ids, chunk_count)^
-- Stores the ids of a living document's pieces in the vector index, and how many pieces it has.
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        vector_ids = :vector_ids::text[],
        chunk_count = :chunk_count::bigint,
        updated_at = statement_timestamp()
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
        AND d.deleted_at IS NULL
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: statistics(user_id)^
-- What a user's documents add up to.
-- octet_length() of a text reads its length alone, not the text.
SELECT
    count(*) AS documents,
    count(*) FILTER (WHERE d.status = 'pending') AS pending,
    count(*) FILTER (WHERE d.status = 'processing') AS processing,
    count(*) FILTER (WHERE d.status = 'completed') AS completed,
    count(*) FILTER (WHERE d.status = 'failed') AS failed,
    coalesce(sum(d.size_bytes), 0)::bigint AS size_bytes,
    coalesce(sum(octet_length(d.text_content)), 0)::bigint AS text_bytes,
    coalesce(sum(d.chunk_count), 0)::bigint AS chunks,
    max(d.uploaded_at) AS last_uploaded_at
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.deleted_at IS NULL;

-- name: statistics_by_content_type(user_id)
-- The same for each media type, most bytes first.
SELECT
    d.content_type,
    count(*) AS documents,
    coalesce(sum(d.size_bytes), 0)::bigint AS size_bytes,
    coalesce(sum(octet_length(d.text_content)), 0)::bigint AS text_bytes,
    coalesce(sum(d.chunk_count), 0)::bigint AS chunks
FROM clonedb.knowledge_documents AS d
WHERE d.user_id = :user_id::uuid
    AND d.deleted_at IS NULL
GROUP BY d.content_type
ORDER BY
    size_bytes DESC,
    d.content_type ASC;

-- name: update(user_id, id, fields, filename, content_type, size_bytes, title, author, source_url, tags, language, text_content, storage_path, metadata)^
-- Changes the named fields of a living document.
-- lane: pool
WITH changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        filename = CASE
            WHEN 'filename' = ANY(:fields::text[]) THEN :filename::text
            ELSE d.filename
        END,
        content_type = CASE
            WHEN 'content_type' = ANY(:fields::text[]) THEN :content_type::text
            ELSE d.content_type
        END,
        size_bytes = CASE
            WHEN 'size_bytes' = ANY(:fields::text[]) THEN :size_bytes::bigint
            ELSE d.size_bytes
        END,
        title = CASE
            WHEN 'title' = ANY(:fields::text[]) THEN :title::text
            ELSE d.title
        END,
        author = CASE
            WHEN 'author' = ANY(:fields::text[]) THEN :author::text
            ELSE d.author
        END,
        source_url = CASE
            WHEN 'source_url' = ANY(:fields::text[]) THEN :source_url::text
            ELSE d.source_url
        END,
        tags = CASE
            WHEN 'tags' = ANY(:fields::text[]) THEN :tags::text[]
            ELSE d.tags
        END,
        language = CASE
            WHEN 'language' = ANY(:fields::text[]) THEN :language::text
            ELSE d.language
        END,
        text_content = CASE
            WHEN 'text_content' = ANY(:fields::text[]) THEN :text_content::text
            ELSE d.text_content
        END,
        storage_path = CASE
            WHEN 'storage_path' = ANY(:fields::text[]) THEN :storage_path::text
            ELSE d.storage_path
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE d.metadata
        END,
        updated_at = statement_timestamp()
    WHERE d.user_id = :user_id::uuid
        AND d.id = :id::uuid
        AND d.deleted_at IS NULL
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.update',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;

-- name: update_many(user_id, ids, fields, author, source_url, tags, language, metadata)
-- Changes the named fields of several living documents to the same values.
WITH chosen AS (
    SELECT d.id
    FROM clonedb.knowledge_documents AS d
    WHERE d.user_id = :user_id::uuid
        AND d.id = ANY(:ids::uuid[])
        AND d.deleted_at IS NULL
    ORDER BY d.id
    FOR NO KEY UPDATE
),
changed AS (
    UPDATE clonedb.knowledge_documents AS d
    SET
        author = CASE
            WHEN 'author' = ANY(:fields::text[]) THEN :author::text
            ELSE d.author
        END,
        source_url = CASE
            WHEN 'source_url' = ANY(:fields::text[]) THEN :source_url::text
            ELSE d.source_url
        END,
        tags = CASE
            WHEN 'tags' = ANY(:fields::text[]) THEN :tags::text[]
            ELSE d.tags
        END,
        language = CASE
            WHEN 'language' = ANY(:fields::text[]) THEN :language::text
            ELSE d.language
        END,
        metadata = CASE
            WHEN 'metadata' = ANY(:fields::text[]) THEN :metadata::jsonb
            ELSE d.metadata
        END,
        updated_at = statement_timestamp()
    FROM chosen
    WHERE d.user_id = :user_id::uuid
        AND d.id = chosen.id
    RETURNING
        d.id,
        d.filename,
        d.content_type,
        d.size_bytes,
        d.title,
        d.author,
        d.source_url,
        d.tags,
        d.language,
        d.chunk_count,
        d.status,
        d.error_message,
        d.claimed_at,
        d.claimed_by,
        d.lease_expires_at,
        d.attempts,
        d.storage_path,
        d.uploaded_at,
        d.processed_at,
        d.metadata,
        d.created_at,
        d.updated_at,
        d.deleted_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        clonedb.acting_ref(u.subject_ref),
        u.subject_ref,
        'document.update',
        'knowledge_documents/' || changed.id,
        'success'
    FROM changed
    INNER JOIN clonedb.users AS u ON u.id = :user_id::uuid
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
    changed.id,
    changed.filename,
    changed.content_type,
    changed.size_bytes,
    changed.title,
    changed.author,
    changed.source_url,
    changed.tags,
    changed.language,
    changed.chunk_count,
    changed.status,
    changed.error_message,
    changed.claimed_at,
    changed.claimed_by,
    changed.lease_expires_at,
    changed.attempts,
    changed.storage_path,
    changed.uploaded_at,
    changed.processed_at,
    changed.metadata,
    changed.created_at,
    changed.updated_at,
    changed.deleted_at
FROM changed;
