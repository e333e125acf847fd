-- Creates the seven roles of clonedb where they are missing.
-- why: rights and policies name roles, so the roles come first. Roles belong to the whole cluster:
--   another database may have made them, and an operator may have given them attributes.
-- phase: before deploy
-- locks: none
-- rollback: nothing; the roles stay, since other databases may use them
--
-- Works without a superuser: missing roles need CREATEROLE, existing ones need nothing.
-- All are made NOLOGIN; sql/setup/logins.sql turns those into logins that are used as such.

DO $create_roles$
DECLARE
    v_role text;
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
        CONTINUE WHEN to_regrole(v_role) IS NOT NULL;
        BEGIN
            EXECUTE format('CREATE ROLE %I NOLOGIN', v_role);
        EXCEPTION
            -- Another database of the cluster was quicker; its role is as good as ours.
            WHEN duplicate_object OR unique_violation THEN NULL;
        END;
    END LOOP;
END
$create_roles$;

-- The migrator and whoever runs this file must be able to become the owner: every later file does.
DO $grant_owner$
DECLARE
    -- From 16 on a membership may exclude SET ROLE, and SET is the question; 15 knows MEMBER alone.
    v_privilege text := CASE
        WHEN current_setting('server_version_num')::integer >= 160000 THEN 'SET'
        ELSE 'MEMBER'
    END;
    v_member text;
    v_attempts integer := 0;
BEGIN
    FOREACH v_member IN ARRAY ARRAY['clonedb_migrator', current_user::text]
    LOOP
        WHILE NOT pg_has_role(v_member, 'clonedb_owner', v_privilege)
        LOOP
            BEGIN
                EXECUTE format('GRANT clonedb_owner TO %I', v_member);
            EXCEPTION
                -- "tuple concurrently updated": a deployer of another database grants the same.
                WHEN internal_error OR unique_violation THEN
                    v_attempts := v_attempts + 1;
                    IF v_attempts > 50 THEN
                        RAISE;
                    END IF;
                    PERFORM pg_sleep(0.02);
                WHEN insufficient_privilege THEN
                    RAISE EXCEPTION 'role % may not become clonedb_owner', v_member
                        USING
                            ERRCODE = 'insufficient_privilege',
                            HINT = 'Run sql/setup/logins.sql as a superuser, or migrate as a role '
                                'with CREATEROLE that administers clonedb_owner.';
            END;
        END LOOP;
    END LOOP;
END
$grant_owner$;
