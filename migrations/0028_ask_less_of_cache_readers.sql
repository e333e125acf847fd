-- Lets a cached entry be read by asking for its user once, and its changes by an index.
-- depends: 0027_audit_sign_ups
-- why: who lives was looked up twice for a read and seven times for an entry that is put anew, 4 to 5
--   microseconds each; and the changes of a few hundred users fitted so few pages that they were read
--   from the first to the last, 20 microseconds.
-- phase: before deploy
-- locks: ACCESS EXCLUSIVE on audio_chunk_cache, cache_changes, cache_fill_leases, embedding_cache,
--   llm_response_cache, vector_search_cache
-- rollback: the policies of protect_user_table() again
--
-- To read one's own, being in the context is enough: whoever deletes a user drops their entries in the
-- same transaction, and leaves a change that makes old what was stored in a race. To write, the user
-- has to live, as everywhere.

SET LOCAL ROLE clonedb_owner;

DO $policies$
DECLARE
    v_shared constant text := quote_literal('00000000-0000-0000-0000-000000000000') || '::uuid';
    v_own constant text := 'user_id = (SELECT clonedb.current_user_id())';
    v_living constant text := 'user_id = (SELECT clonedb.living_user_id())';
    v_own_or_shared text;
    v_table text;
BEGIN
    v_own_or_shared := format(
        'user_id = ANY(ARRAY[(SELECT clonedb.current_user_id()), %s])', v_shared
    );
    FOREACH v_table IN ARRAY ARRAY[
        'embedding_cache', 'vector_search_cache', 'llm_response_cache', 'audio_chunk_cache',
        'cache_changes', 'cache_fill_leases'
    ] LOOP
        EXECUTE format('DROP POLICY own_rows ON clonedb.%I', v_table);
        IF v_table = 'cache_fill_leases' THEN
            EXECUTE format(
                'CREATE POLICY own_rows_to_read ON clonedb.%I FOR SELECT TO clonedb_app USING (%s)',
                v_table, v_own
            );
        ELSE
            EXECUTE format('DROP POLICY shared_rows_to_read ON clonedb.%I', v_table);
            EXECUTE format(
                'CREATE POLICY own_and_shared_rows_to_read ON clonedb.%I '
                'FOR SELECT TO clonedb_app USING (%s)',
                v_table, v_own_or_shared
            );
        END IF;
        EXECUTE format(
            'CREATE POLICY own_rows_to_add ON clonedb.%I FOR INSERT TO clonedb_app '
            'WITH CHECK (%s)',
            v_table, v_living
        );
        EXECUTE format(
            'CREATE POLICY own_rows_to_change ON clonedb.%I FOR UPDATE TO clonedb_app '
            'USING (%s) WITH CHECK (%s)',
            v_table, v_own, v_living
        );
        EXECUTE format(
            'CREATE POLICY own_rows_to_drop ON clonedb.%I FOR DELETE TO clonedb_app USING (%s)',
            v_table, v_own
        );
    END LOOP;
END
$policies$;

-- A few changes to a page: looking one user's up by the key is then cheaper than reading them all,
-- also by the planner's reckoning, from some dozens of changes on. They are gone after an hour.
ALTER TABLE clonedb.cache_changes SET (fillfactor = 10);
