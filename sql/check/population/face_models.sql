INSERT INTO clonedb.face_models (user_id, model_path, resolution, is_active)
SELECT
    u.id,
    'faces/1',
    '{"width": 512, "height": 512}',
    true
FROM clonedb.users AS u;
