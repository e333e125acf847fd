-- Drops the documents with every row, and the function behind their full-text column.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.knowledge_documents;
DROP FUNCTION clonedb.document_search(text, text, text);
