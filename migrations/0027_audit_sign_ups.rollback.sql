-- Takes sign-ups off the record.

SET LOCAL ROLE clonedb_owner;

CREATE OR REPLACE FUNCTION clonedb.sign_up(
    p_id uuid,
    p_email text,
    p_name text,
    p_personality_traits text[],
    p_speaking_style text,
    p_preferred_llm_provider text,
    p_preferred_tts_provider text,
    p_settings jsonb
)
RETURNS SETOF clonedb.users
LANGUAGE plpgsql
VOLATILE
SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    v_user clonedb.users;
BEGIN
    BEGIN
        INSERT INTO clonedb.users AS u (
            id,
            email,
            name,
            personality_traits,
            speaking_style,
            preferred_llm_provider,
            preferred_tts_provider,
            settings
        )
        VALUES (
            coalesce(p_id, clonedb.uuid_v7()),
            p_email,
            p_name,
            coalesce(p_personality_traits, '{}'),
            p_speaking_style,
            coalesce(p_preferred_llm_provider, 'gpt-4-turbo'),
            coalesce(p_preferred_tts_provider, 'xtts-v2'),
            coalesce(p_settings, '{}')
        )
        -- DO NOTHING would return no row to a repeat that races with the first.
        ON CONFLICT (id) DO UPDATE SET id = excluded.id
        RETURNING u.* INTO v_user;
    EXCEPTION
        -- A race that both indexes notice is reported by that of the address, which is not the one
        -- that ON CONFLICT watches. The other has committed by now.
        WHEN unique_violation THEN
            SELECT u.*
            INTO v_user
            FROM clonedb.users AS u
            WHERE u.id = p_id;
            IF NOT FOUND THEN
                RAISE;
            END IF;
    END;

    -- An id is no proof of who asks: only the same living address gets its row back.
    IF v_user.email_key <> lower(p_email) OR v_user.deleted_at IS NOT NULL THEN
        RAISE EXCEPTION 'duplicate key value violates unique constraint "users_pkey"'
            USING
                ERRCODE = 'unique_violation',
                SCHEMA = 'clonedb',
                TABLE = 'users',
                CONSTRAINT = 'users_pkey';
    END IF;
    RETURN NEXT v_user;
END
$$;
