-- Lets the app login erase the details of its own user's audit entries.
-- depends: 0031_order_audit_logs_by_id
-- why: deleting a user for good erases what is personal about their entries in the same statement,
--   and a user may do that in their own scope. Row-level security keeps it to their own rows; the
--   entries themselves stay.
-- phase: before deploy
-- locks: none
-- rollback: takes the right again; the app login then deletes no user for good

SET LOCAL ROLE clonedb_owner;

GRANT DELETE ON clonedb.audit_subjects TO clonedb_app;
