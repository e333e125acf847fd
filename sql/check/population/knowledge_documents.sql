INSERT INTO clonedb.knowledge_documents (
    user_id, filename, content_type, size_bytes, title, text_content, tags
)
SELECT
    u.id,
    'diary.txt',
    'text/plain',
    5,
    'Diary',
    'Today it rained.',
    '{private}'
FROM clonedb.users AS u;
