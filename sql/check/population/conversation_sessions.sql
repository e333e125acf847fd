INSERT INTO clonedb.conversation_sessions (
    user_id, llm_provider, tts_provider, voice_model_id, face_model_id, total_turns
)
SELECT
    v.user_id,
    'gpt-4-turbo',
    'xtts-v2',
    v.id,
    f.id,
    2
FROM clonedb.voice_models AS v
INNER JOIN clonedb.face_models AS f ON f.user_id = v.user_id;
