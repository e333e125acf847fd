-- name: find()
-- Rules for other machines with a method that proves little. Only a superuser may look.
SELECT
    format('%s:%s', x.file, h.line_number) AS object,
    x.file,
    h.line_number AS line,
    x.rule,
    h.auth_method AS method
FROM pg_catalog.pg_hba_file_rules AS h
CROSS JOIN LATERAL (
    VALUES
    (
        coalesce(to_jsonb(h) ->> 'file_name', current_setting('hba_file')),
        concat_ws(
            ' ',
            h.type,
            array_to_string(h.database, ','),
            array_to_string(h.user_name, ','),
            h.address,
            h.netmask,
            h.auth_method
        )
    )
) AS x (file, rule)
WHERE h.type LIKE 'host%'
    AND coalesce(h.address, '') NOT IN ('127.0.0.1', '::1', 'localhost', 'samehost')
    AND h.auth_method IN ('trust', 'ident', 'password', 'md5')
ORDER BY h.line_number;
