-- Drops the functions that find documents and choose their language, and the index behind them.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.search_documents(text, text[], bigint);
DROP INDEX clonedb.knowledge_documents_language;
DROP FUNCTION clonedb.document_language(uuid);
DROP FUNCTION clonedb.document_languages();
