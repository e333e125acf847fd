-- Drops the voice models with every row.

SET LOCAL ROLE clonedb_owner;

DROP TABLE clonedb.voice_models;
