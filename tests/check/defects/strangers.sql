-- Readings of users' tables that :user_id does not reach.

-- name: or_something_else(user_id)
-- The key is one part of OR.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid OR s.state = 'error';

-- name: is_not_true(user_id)
-- The comparison is turned round.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE (s.user_id = :user_id::uuid) IS NOT TRUE;

-- name: is_not_false(user_id)
-- The comparison is inside CASE.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE CASE WHEN s.user_id = :user_id::uuid THEN s.total_turns > 0 ELSE s.total_turns > 9 END;

-- name: two_tables_that_bind_each_other(user_id)
-- Each has the other's key, and neither the user's.
SELECT s.state, v.provider
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id
WHERE :user_id::uuid IS NOT NULL;

-- name: two_tables_across_users()
-- The same without a user, and without saying so.
SELECT s.state, v.provider
FROM clonedb.conversation_sessions AS s
INNER JOIN clonedb.voice_models AS v ON v.user_id = s.user_id AND v.id = s.voice_model_id;

-- name: the_wrong_side_of_a_left_join(user_id)
-- Users are bound, sessions come whether they match or not.
SELECT s.state, u.name
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.users AS u ON u.id = s.user_id AND u.id = :user_id::uuid;

-- name: the_user_in_on(user_id)
-- The condition is in ON of the outer join.
SELECT s.state, v.provider
FROM clonedb.conversation_sessions AS s
LEFT JOIN clonedb.voice_models AS v ON s.user_id = :user_id::uuid AND v.user_id = s.user_id AND v.id = s.voice_model_id;

-- name: everybody_but_the_user(user_id)
-- NOT EXISTS keeps those who do not match.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE NOT EXISTS (SELECT FROM clonedb.users AS u WHERE u.id = s.user_id AND u.id = :user_id::uuid);

-- name: a_full_join(user_id)
-- Both sides of FULL JOIN come.
SELECT s.state, u.name
FROM (SELECT u.id, u.name FROM clonedb.users AS u WHERE u.id = :user_id::uuid) AS u
FULL JOIN clonedb.conversation_sessions AS s ON s.user_id = u.id;

-- name: a_list_of_people(user_id, friends)
-- Others are named by a list.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = ANY(:friends::uuid[]) AND :user_id::uuid IS NOT NULL;

-- name: another_parameter(user_id, friend)
-- Another person is named by another parameter.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :friend::uuid AND :user_id::uuid IS NOT NULL;

-- name: a_list_as_rows(user_id, friends)
-- Others come as rows of a function.
SELECT s.state
FROM unnest(:friends::uuid[]) AS f (id)
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = f.id
WHERE :user_id::uuid IS NOT NULL;

-- name: a_list_in_a_cte(user_id, friends)
-- Others are asked for in a CTE.
WITH asked AS MATERIALIZED (
    SELECT unnest(:friends::uuid[]) AS user_id
)
SELECT s.state
FROM asked
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = asked.user_id
WHERE :user_id::uuid IS NOT NULL;

-- name: another_column(user_id)
-- Bound to something of the user's that is no user.
SELECT s.state
FROM clonedb.voice_models AS v
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = v.id
WHERE v.user_id = :user_id::uuid;

-- name: whoever_is_first(user_id)
-- A sub-select finds whoever is there.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = (SELECT r.user_id FROM clonedb.rate_limits AS r WHERE r.endpoint = 'x' AND r.user_id <> :user_id::uuid LIMIT 1);

-- name: in_an_update(user_id, id)
-- UPDATE FROM in a CTE, whose own table is not bound.
WITH changed AS (
    UPDATE clonedb.voice_models AS v
    SET updated_at = now()
    FROM clonedb.conversation_sessions AS s
    WHERE s.user_id = :user_id::uuid
        AND s.id = :id::uuid
        AND v.id = s.voice_model_id
    RETURNING v.provider
)
SELECT changed.provider FROM changed;

-- name: in_a_delete(user_id, id)
-- DELETE by id alone.
DELETE FROM clonedb.face_models AS f
USING clonedb.users AS u
WHERE u.id = :user_id::uuid AND f.id = :id::uuid;

-- name: in_a_scalar_sub_select(user_id)
-- A statistic over everybody.
SELECT
    s.state,
    (SELECT max(o.total_turns) FROM clonedb.conversation_sessions AS o WHERE o.id > s.id) AS most
FROM clonedb.conversation_sessions AS s
WHERE s.user_id = :user_id::uuid;

-- name: in_one_part_of_a_union(user_id)
-- One part of UNION ALL is bound.
SELECT v.provider FROM clonedb.voice_models AS v WHERE v.user_id = :user_id::uuid
UNION ALL
SELECT s.tts_provider FROM clonedb.conversation_sessions AS s WHERE s.state = 'error';

-- name: when_a_flag_is_given(user_id)
-- Without the flag it is bound.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE s.id IS NOT NULL
    AND s.user_id = :user_id::uuid  -- unless: everybody
    AND :user_id::uuid IS NOT NULL;

-- name: for_users_who_are_not_asked_for(user_ids, friends)
-- The column beside the one of :user_ids is whoever it names.
SELECT s.state
FROM unnest(:user_ids::uuid[], :friends::uuid[]) AS asked (user_id, friend)
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = asked.friend;

-- name: of_several_but_not_bound_to_them(user_ids)
-- The list is there, and nothing is bound to it.
SELECT s.state
FROM clonedb.conversation_sessions AS s
WHERE cardinality(:user_ids::uuid[]) > 0;

-- name: for_sorted_users_who_are_not_asked_for(user_ids, friends)
-- The plan's function scan gives fewer columns than it calls functions.
SELECT
    f.place,
    s.id
FROM (
    SELECT
        asked.friend,
        asked.place
    FROM unnest(:user_ids::uuid[], :friends::uuid[]) WITH ORDINALITY AS asked (user_id, friend, place)
    ORDER BY asked.friend, asked.place
    LIMIT 5
) AS f
INNER JOIN clonedb.conversation_sessions AS s ON s.user_id = f.friend
ORDER BY f.place, s.id
LIMIT 5;
