-- Creates the table of the moves that a session's state may make.
-- depends: 0008_create_face_models
-- why: as rows, a DBA sees and changes them without a release.
-- phase: before deploy
-- locks: none
-- rollback: drops the table with every row in it
--
--   idle ---------> listening
--   listening ----> processing, interrupted, idle, error
--   processing ---> speaking, interrupted, idle, error
--   speaking -----> listening, interrupted, idle, error
--   interrupted --> listening, processing, idle, error
--   error --------> listening, idle
--
-- The same state again is no move and needs no row. A state that has no CHECK below needs one in
-- conversation_sessions as well.

SET LOCAL ROLE clonedb_owner;

CREATE TABLE clonedb.session_transitions (
    from_state text NOT NULL,
    to_state text NOT NULL,
    CONSTRAINT session_transitions_pkey PRIMARY KEY (from_state, to_state),
    CONSTRAINT session_transitions_from_state_is_known CHECK (
        from_state IN ('idle', 'listening', 'processing', 'speaking', 'interrupted', 'error')
    ),
    CONSTRAINT session_transitions_to_state_is_known CHECK (
        to_state IN ('idle', 'listening', 'processing', 'speaking', 'interrupted', 'error')
    ),
    CONSTRAINT session_transitions_states_differ CHECK (from_state <> to_state)
);

COMMENT ON TABLE clonedb.session_transitions IS
'The moves that a session''s state may make; what is not here is refused.';
COMMENT ON COLUMN clonedb.session_transitions.from_state IS 'The state that a session is in.';
COMMENT ON COLUMN clonedb.session_transitions.to_state IS 'A state that it may go to from there.';

INSERT INTO clonedb.session_transitions (from_state, to_state)
VALUES
('idle', 'listening'),
('listening', 'processing'),
('listening', 'interrupted'),
('listening', 'idle'),
('listening', 'error'),
('processing', 'speaking'),
('processing', 'interrupted'),
('processing', 'idle'),
('processing', 'error'),
('speaking', 'listening'),
('speaking', 'interrupted'),
('speaking', 'idle'),
('speaking', 'error'),
('interrupted', 'listening'),
('interrupted', 'processing'),
('interrupted', 'idle'),
('interrupted', 'error'),
('error', 'listening'),
('error', 'idle');

GRANT SELECT ON clonedb.session_transitions
TO clonedb_app, clonedb_worker, clonedb_readonly, clonedb_backup;
GRANT SELECT, INSERT, UPDATE, DELETE ON clonedb.session_transitions TO clonedb_dba;
