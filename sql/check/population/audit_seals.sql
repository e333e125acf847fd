INSERT INTO clonedb.audit_seals (
    number, system_identifier, from_xid, to_xid, entry_count, entries, previous_digest, digest
)
SELECT
    n.number,
    1,
    n.number::text::xid8,
    (n.number + 1)::text::xid8,
    1,
    decode(repeat('00', 48), 'hex'),
    sha256(n.number::text::bytea),
    sha256((n.number + 1)::text::bytea)
FROM generate_series(1, 20) AS n (number);
