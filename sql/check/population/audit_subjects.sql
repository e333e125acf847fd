INSERT INTO clonedb.audit_subjects (user_id, id, ip_address)
SELECT
    u.id,
    l.id,
    '192.0.2.1'
FROM clonedb.audit_logs AS l
INNER JOIN clonedb.users AS u ON u.subject_ref = l.subject_ref;
