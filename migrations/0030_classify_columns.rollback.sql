-- Takes the classes out of the comments, and lets ANALYZE sample every column again.

SET LOCAL ROLE clonedb_owner;

CREATE OR REPLACE FUNCTION clonedb.create_turn_partitions(p_from date, p_months integer)
RETURNS integer
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN clonedb.create_month_partitions('clonedb.conversation_turns', p_from, p_months);
END
$$;

DROP FUNCTION clonedb.leave_unsampled(regclass);

DO $unclassify$
DECLARE
    v_entry record;
BEGIN
    FOR v_entry IN
        SELECT
            c.oid::regclass AS relation,
            t.attname AS column_name,
            t.attstattarget IS NOT DISTINCT FROM 0 AS unsampled,
            regexp_replace(col_description(c.oid, t.attnum), ' \[personal: [a-z]+\]$', '') AS meaning
        FROM pg_class AS c
        INNER JOIN pg_attribute AS t ON t.attrelid = c.oid AND t.attnum > 0
        WHERE c.relnamespace = 'clonedb'::regnamespace
            AND c.relkind IN ('r', 'p')
            AND NOT t.attisdropped
            AND col_description(c.oid, t.attnum) ~ ' \[personal: [a-z]+\]$'
    LOOP
        IF v_entry.unsampled THEN
            EXECUTE format(
                'ALTER TABLE ONLY %s ALTER COLUMN %I SET STATISTICS -1',
                v_entry.relation,
                v_entry.column_name
            );
        END IF;
        EXECUTE format(
            'COMMENT ON COLUMN %s.%I IS %L',
            v_entry.relation,
            v_entry.column_name,
            v_entry.meaning
        );
    END LOOP;
END
$unclassify$;
