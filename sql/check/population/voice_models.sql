INSERT INTO clonedb.voice_models (user_id, provider, model_path, sample_rate, status, is_active)
SELECT
    u.id,
    'xtts-v2',
    'voices/1',
    24000,
    'completed',
    true
FROM clonedb.users AS u;
