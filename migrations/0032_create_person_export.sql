-- Creates the functions that read a person's rows out of any table, a piece at a time.
-- depends: 0031_create_erasures
-- why: what is exported is read from the catalogue, as what is erased is, so that a table or column
--   that is added later is in it; and a cursor keeps memory constant on both sides. With the owner's
--   rights: no login may read a month by itself, and one that is detached is a table of its own.
-- phase: before deploy
-- locks: none
-- rollback: drops the functions

SET LOCAL ROLE clonedb_owner;

CREATE FUNCTION clonedb.open_person_rows(p_user_id uuid, p_table text) RETURNS text
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows refcursor := 'clonedb_person_rows';
    v_table record;
    v_condition text;
    v_order text;
BEGIN
    SELECT
        t.relation,
        t.user_column,
        t.reference_columns
    INTO v_table
    FROM clonedb.person_tables() AS t
    WHERE t.table_name = p_table;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'no table of people is called %', p_table
            USING ERRCODE = 'invalid_parameter_value';
    END IF;
    v_condition := coalesce(
        CASE WHEN v_table.user_column IS NOT NULL THEN format('t.%I = $1', v_table.user_column) END,
        (
            SELECT string_agg(
                format(
                    't.%I = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = $1)',
                    r.reference_column
                ),
                ' OR '
            )
            FROM unnest(v_table.reference_columns) AS r (reference_column)
        )
    );
    v_order := (
        SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY k.place)
        FROM pg_index AS i
        CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k (attnum, place)
        INNER JOIN pg_attribute AS a ON a.attrelid = i.indrelid AND a.attnum = k.attnum
        WHERE i.indrelid = v_table.relation
            AND i.indisprimary
    );
    IF EXISTS (SELECT FROM pg_cursors AS c WHERE c.name = 'clonedb_person_rows') THEN
        CLOSE v_rows;
    END IF;
    OPEN v_rows NO SCROLL FOR EXECUTE
        format('SELECT row_to_json(t)::text FROM clonedb.%I AS t WHERE %s', p_table, v_condition)
        || coalesce(' ORDER BY ' || v_order, '')
        USING p_user_id;
    RETURN p_table;
END
$$;

COMMENT ON FUNCTION clonedb.open_person_rows(uuid, text) IS
'Opens a cursor on a person''s rows in a table of clonedb.person_tables(), in the order of its key, for
fetch_person_rows() in the same transaction; one at a time.';

CREATE FUNCTION clonedb.fetch_person_rows(p_bytes integer) RETURNS SETOF text
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_rows refcursor := 'clonedb_person_rows';
    v_line text;
    v_bytes bigint := 0;
BEGIN
    WHILE v_bytes < p_bytes LOOP
        FETCH v_rows INTO v_line;
        EXIT WHEN NOT FOUND;
        -- A column of type json keeps its line breaks, which are between its tokens alone.
        RETURN NEXT translate(v_line, E'\r\n', '  ');
        v_bytes := v_bytes + octet_length(v_line);
    END LOOP;
END
$$;

COMMENT ON FUNCTION clonedb.fetch_person_rows(integer) IS
'The next rows of the cursor that open_person_rows() has opened, a JSON object on one line for each,
until they are p_bytes long; no row at the end.';

GRANT EXECUTE ON FUNCTION
clonedb.open_person_rows(uuid, text),
clonedb.fetch_person_rows(integer)
TO clonedb_worker, clonedb_dba;
