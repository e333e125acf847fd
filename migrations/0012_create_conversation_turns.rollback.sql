-- Drops the turns, all months, with every row, and the functions that make and count their months.

SET LOCAL ROLE clonedb_owner;

DROP FUNCTION clonedb.turn_months_ahead();
DROP FUNCTION clonedb.create_turn_partitions(date, integer);
DROP TABLE clonedb.conversation_turns;
