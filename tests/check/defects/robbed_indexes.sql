-- Predicates whose index is lost under row-level security.

-- name: full_text(words)
-- The operator of full text.
SELECT d.id FROM clonedb.knowledge_documents AS d
WHERE d.deleted_at IS NULL
    AND d.search @@ plainto_tsquery('simple', :words::text);

-- name: full_text_from_the_right(words)
-- The other way round, in a CTE.
WITH found AS (
    SELECT d.id FROM clonedb.knowledge_documents AS d
    WHERE d.deleted_at IS NULL
        AND plainto_tsquery('simple', :words::text) @@ d.search
)
SELECT found.id FROM found;

-- name: full_text_in_a_sub_select(words)
-- Inside a scalar sub-select.
SELECT (
    SELECT count(*) FROM clonedb.knowledge_documents AS d
    WHERE d.deleted_at IS NULL
        AND d.search @@ plainto_tsquery('simple', :words::text)
) AS many;

-- name: full_text_in_an_update(words)
-- In the WHERE of an UPDATE.
UPDATE clonedb.knowledge_documents AS d SET updated_at = now()
WHERE d.deleted_at IS NULL
    AND d.search @@ plainto_tsquery('simple', :words::text);

-- name: full_text_with_a_filter(words)
-- Only the variants of the filter.
SELECT d.id FROM clonedb.knowledge_documents AS d
WHERE d.deleted_at IS NULL
    AND d.search @@ plainto_tsquery('simple', :words::text)  -- filter: words
;
