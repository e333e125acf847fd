-- Creates the functions that find documents by their words, and choose a document's language.
-- depends: 0019_grant_migrations_table
-- why: the operators of full-text search are not leakproof, so under row-level security they reach
--   no index. A function of the owner does, and takes its user from the context and nowhere else.
-- phase: before deploy
-- locks: SHARE on knowledge_documents (no release has stored any yet)
-- builds: knowledge_documents_language of knowledge_documents
-- rollback: drops the functions and the index

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.document_languages() RETURNS text[]
LANGUAGE sql
IMMUTABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT ARRAY[
    'simple', 'arabic', 'armenian', 'basque', 'catalan', 'danish', 'dutch', 'english',
    'finnish', 'french', 'german', 'greek', 'hindi', 'hungarian', 'indonesian', 'irish',
    'italian', 'lithuanian', 'nepali', 'norwegian', 'portuguese', 'romanian', 'russian',
    'serbian', 'spanish', 'swedish', 'tamil', 'turkish', 'yiddish'
]
$$;

COMMENT ON FUNCTION clonedb.document_languages() IS
'The languages a document may have: those of knowledge_documents_language_is_known.';

CREATE FUNCTION clonedb.document_language(p_user_id uuid) RETURNS text
LANGUAGE sql
STABLE
PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
SELECT coalesce(
    (
        SELECT u.settings ->> 'document_language'
        FROM clonedb.users AS u
        WHERE u.id = p_user_id
            AND u.settings ->> 'document_language' = ANY(clonedb.document_languages())
    ),
    'simple'
)
$$;

COMMENT ON FUNCTION clonedb.document_language(uuid) IS
'The language of a user''s new documents: document_language in the settings where that is a known
one, otherwise simple. Sees what the caller may see.';

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX knowledge_documents_language
ON clonedb.knowledge_documents (user_id, language)
WHERE deleted_at IS NULL;
COMMENT ON INDEX clonedb.knowledge_documents_language IS
'Which languages a user''s living documents have, a step for each of them.';

CREATE FUNCTION clonedb.search_documents(p_query text, p_languages text[], p_limit bigint)
RETURNS TABLE (id uuid, rank double precision)
LANGUAGE plpgsql
STABLE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
-- What an index finds depends on the words: a common one is better looked for in the user's rows.
SET plan_cache_mode = force_custom_plan
AS $$
DECLARE
    v_user constant uuid := clonedb.living_user_id();
    v_languages text[] := p_languages;
    v_language text;
    v_query tsquery;
BEGIN
    IF v_user IS NULL THEN
        RETURN;
    END IF;
    IF v_languages IS NULL THEN
        WITH RECURSIVE present AS (
            SELECT min(d.language) AS language
            FROM clonedb.knowledge_documents AS d
            WHERE d.user_id = v_user
                AND d.deleted_at IS NULL
            UNION ALL
            SELECT (
                SELECT min(d.language)
                FROM clonedb.knowledge_documents AS d
                WHERE d.user_id = v_user
                    AND d.deleted_at IS NULL
                    AND d.language > present.language
            )
            FROM present
            WHERE present.language IS NOT NULL
        )
        SELECT array_agg(p.language)
        INTO v_languages
        FROM present AS p
        WHERE p.language IS NOT NULL;
    END IF;
    FOR v_language IN
        SELECT DISTINCT given.language
        FROM unnest(v_languages) AS given (language)
        WHERE given.language = ANY(clonedb.document_languages())
    LOOP
        v_query := websearch_to_tsquery(('pg_catalog.' || v_language)::regconfig, p_query);
        -- Nothing but words that every text has: there is nothing to look for.
        CONTINUE WHEN numnode(v_query) = 0;
        RETURN QUERY
        SELECT
            d.id,
            ts_rank_cd(d.search, v_query, 1)::double precision
        FROM clonedb.knowledge_documents AS d
        WHERE d.user_id = v_user
            AND d.language = v_language
            AND d.deleted_at IS NULL
            AND d.search @@ v_query
        ORDER BY
            2 DESC,
            1 DESC
        LIMIT p_limit;
    END LOOP;
END
$$;

COMMENT ON FUNCTION clonedb.search_documents(text, text[], bigint) IS
'The ids and ranks of the living documents of the context''s living user that match a query in web
search syntax: at most p_limit of each language, best first. Each document is searched in its own
language; p_languages narrows to some, NULL is all that the user''s documents have. The rank is cover
density by the logarithm of the length, the title counting more than the text.';

GRANT EXECUTE ON FUNCTION clonedb.document_languages()
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT EXECUTE ON FUNCTION clonedb.document_language(uuid)
TO clonedb_app, clonedb_worker, clonedb_dba;
GRANT EXECUTE ON FUNCTION clonedb.search_documents(text, text[], bigint)
TO clonedb_app, clonedb_worker;
