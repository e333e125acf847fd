-- Makes clonedb's roles, and turns into logins those that log in.
--
-- For a superuser, or a role with CREATEROLE that made the roles, once for a cluster and before the
-- first migration:  psql -f sql/setup/logins.sql
-- It may be run again at any time: it changes nothing that is as it should be, and no password. Set
-- passwords afterwards (psql: \password clonedb_app), or let the server's pg_hba.conf decide.
--
--   clonedb_owner     no login; owns the schema, and the database clonedb
--   clonedb_migrator  runs migrations; may become the owner
--   clonedb_app       services that people use: one person's rows at a time
--   clonedb_worker    background jobs and administration: rows of everybody
--   clonedb_readonly  dashboards: counts, times, states and costs, no content
--   clonedb_backup    pg_dump --enable-row-security
--   clonedb_dba       people who look after the data

DO $logins$
DECLARE
    -- From 16 on a membership may exclude SET ROLE, and SET is the question; 15 knows MEMBER alone.
    v_privilege text := CASE
        WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
        ELSE 'MEMBER'
    END;
    v_role text;
    v_attempts integer := 0;
BEGIN
    LOOP
        BEGIN
            FOREACH v_role IN ARRAY ARRAY[
                'clonedb_owner',
                'clonedb_migrator',
                'clonedb_app',
                'clonedb_worker',
                'clonedb_readonly',
                'clonedb_backup',
                'clonedb_dba'
            ]
            LOOP
                IF to_regrole(v_role) IS NULL THEN
                    EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
                END IF;
                IF v_role <> 'clonedb_owner' AND NOT EXISTS (
                    SELECT
                    FROM pg_roles AS r
                    WHERE r.rolname = v_role
                        AND r.rolcanlogin
                )
                THEN
                    EXECUTE format('ALTER ROLE %I LOGIN', v_role);
                END IF;
            END LOOP;
            IF NOT pg_has_role('clonedb_migrator', 'clonedb_owner', v_privilege) THEN
                GRANT clonedb_owner TO clonedb_migrator;
            END IF;
            EXIT;
        EXCEPTION
            -- Somebody does the same at this moment; internal_error is "tuple concurrently updated".
            WHEN duplicate_object OR unique_violation OR internal_error THEN
                v_attempts := v_attempts + 1;
                IF v_attempts > 50 THEN
                    RAISE;
                END IF;
                PERFORM pg_sleep(0.02);
        END;
    END LOOP;
END
$logins$;
