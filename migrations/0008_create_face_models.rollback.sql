-- Drops the face models with every row.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.face_models;
