INSERT INTO clonedb.audit_logs (actor_ref, subject_ref, action, resource, result)
SELECT
    u.subject_ref,
    u.subject_ref,
    'login',
    'users',
    'success'
FROM clonedb.users AS u;
