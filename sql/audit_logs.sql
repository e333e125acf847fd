-- The audit log: who did what to whom. Entries are appended, and neither changed nor removed.
--
-- What a statement of another file changes, it puts on record itself, in its CTE `audited`: an entry for
-- each row that it has changed, and none for what was so already. These are for what no statement knows.
--
-- An entry names people by users.subject_ref alone; its address, user agent and metadata are a row
-- beside it (audit_subjects), which dies with its user. Pages are in the order of the ids, which is
-- that of time within the milliseconds by which the clocks of services differ.

-- name: append(user_id, id, action, resource, result, ip_address, user_agent, metadata)^
-- Appends an entry about the user's own deed, with its details; no row without the user.
-- A repeat with the same id appends nothing.
WITH given AS MATERIALIZED (
    SELECT
        coalesce(:id::uuid, clonedb.uuid_v7()) AS id,
        u.subject_ref
    FROM clonedb.users AS u
    WHERE u.id = :user_id::uuid
),
entry AS (
    INSERT INTO clonedb.audit_logs AS l (
        id,
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        given.id,
        given.subject_ref,
        given.subject_ref,
        :action::text,
        :resource::text,
        :result::text
    FROM given
    ON CONFLICT DO NOTHING
    RETURNING l.id
),
details AS (
    INSERT INTO clonedb.audit_subjects (
        user_id,
        id,
        ip_address,
        user_agent,
        metadata
    )
    SELECT
        :user_id::uuid,
        entry.id,
        :ip_address::inet,
        :user_agent::text,
        coalesce(:metadata::jsonb, '{}')
    FROM entry
    WHERE num_nonnulls(:ip_address::inet, :user_agent::text, :metadata::jsonb) > 0
)
SELECT
    given.id,
    (entry.id IS NOT NULL) AS appended
FROM given
LEFT JOIN entry ON given.id = entry.id;

-- name: append_for(actor_id, subject_id, id, action, resource, result, ip_address, user_agent, metadata)^
-- Appends an entry about what one person, or the system, did to another, for the worker login.
-- Somebody who does not exist is an unknown person: what they did is on record all the same.
WITH given AS MATERIALIZED (
    SELECT
        coalesce(:id::uuid, clonedb.uuid_v7()) AS id,
        actor.subject_ref AS actor_ref,
        subject.subject_ref,
        coalesce(subject.id, '00000000-0000-0000-0000-000000000000'::uuid) AS user_id
    FROM (VALUES (true)) AS once (once)
    LEFT JOIN clonedb.users AS actor ON actor.id = :actor_id::uuid
    LEFT JOIN clonedb.users AS subject ON subject.id = :subject_id::uuid
),
entry AS (
    INSERT INTO clonedb.audit_logs AS l (
        id,
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        given.id,
        given.actor_ref,
        given.subject_ref,
        :action::text,
        :resource::text,
        :result::text
    FROM given
    ON CONFLICT DO NOTHING
    RETURNING l.id
),
details AS (
    INSERT INTO clonedb.audit_subjects (
        user_id,
        id,
        ip_address,
        user_agent,
        metadata
    )
    SELECT
        given.user_id,
        entry.id,
        :ip_address::inet,
        :user_agent::text,
        coalesce(:metadata::jsonb, '{}')
    FROM entry
    INNER JOIN given ON entry.id = given.id
    WHERE num_nonnulls(:ip_address::inet, :user_agent::text, :metadata::jsonb) > 0
)
SELECT
    given.id,
    (entry.id IS NOT NULL) AS appended
FROM given
LEFT JOIN entry ON given.id = entry.id;

-- name: append_unknown(id, action, resource, result, ip_address, user_agent, metadata)^
-- Appends an entry about somebody unknown, such as a failed login, for either login.
-- The app login may not read it back, so nothing is returned from the log itself.
WITH given AS MATERIALIZED (
    SELECT coalesce(:id::uuid, clonedb.uuid_v7()) AS id
),
entry AS (
    INSERT INTO clonedb.audit_logs (
        id,
        action,
        resource,
        result
    )
    SELECT
        given.id,
        :action::text,
        :resource::text,
        :result::text
    FROM given
),
details AS (
    INSERT INTO clonedb.audit_subjects (
        user_id,
        id,
        ip_address,
        user_agent,
        metadata
    )
    SELECT
        '00000000-0000-0000-0000-000000000000'::uuid,
        given.id,
        :ip_address::inet,
        :user_agent::text,
        coalesce(:metadata::jsonb, '{}')
    FROM given
    WHERE num_nonnulls(:ip_address::inet, :user_agent::text, :metadata::jsonb) > 0
)
SELECT
    given.id,
    true AS appended
FROM given;

-- name: count(user_id, subject_id, actor_id, action, resource, result, created_from, created_before)$
-- How many entries match.
-- users: all
-- plan: scan audit_logs
SELECT count(*)
FROM clonedb.audit_logs AS l
WHERE true
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id)  -- filter: user
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :subject_id)  -- filter: subject
    AND l.actor_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :actor_id)  -- filter: actor
    AND l.action = :action::text  -- filter: action
    AND l.resource = :resource::text  -- filter: resource
    AND l.result = :result::text  -- filter: result
    AND l.created_at >= :created_from::timestamptz  -- filter: created_from
    AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- filter: created_from
    AND l.created_at < :created_before::timestamptz  -- filter: created_before
    AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h');  -- filter: created_before

-- name: find_by_id(user_id, id)^
-- One entry with its details.
-- users: all
SELECT
    l.id,
    l.action,
    l.resource,
    l.result,
    l.created_at,
    l.actor_ref,
    l.subject_ref,
    u.id AS subject_id,
    host(d.ip_address) AS ip_address,
    d.user_agent,
    coalesce(d.metadata, '{}') AS metadata
FROM clonedb.audit_logs AS l
LEFT JOIN clonedb.users AS u ON l.subject_ref = u.subject_ref
LEFT JOIN clonedb.audit_subjects AS d
    ON
        l.id = d.id
        AND d.user_id = CASE
            WHEN l.subject_ref IS NULL THEN '00000000-0000-0000-0000-000000000000'::uuid
            ELSE u.id
        END
WHERE l.id = :id::uuid
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id);  -- filter: user

-- name: find_many(user_id, subject_id, actor_id, action, resource, result, created_from, created_before, after_id, limit)
-- One page of entries with their details.
-- A bound on the time is one on the ids too, with a day for clocks, so that other months are left
-- out.
-- users: all
-- plan: scan audit_logs
SELECT
    l.id,
    l.action,
    l.resource,
    l.result,
    l.created_at,
    l.actor_ref,
    l.subject_ref,
    u.id AS subject_id,
    host(d.ip_address) AS ip_address,
    d.user_agent,
    coalesce(d.metadata, '{}') AS metadata
    , (  -- when: with_total
        SELECT count(*)  -- when: with_total
        FROM clonedb.audit_logs AS l  -- when: with_total
        INNER JOIN clonedb.users AS o ON l.subject_ref = o.subject_ref AND o.id = :user_id  -- when: with_total; filter: user
        INNER JOIN clonedb.users AS s ON l.subject_ref = s.subject_ref AND s.id = :subject_id  -- when: with_total; filter: subject
        INNER JOIN clonedb.users AS a ON l.actor_ref = a.subject_ref AND a.id = :actor_id  -- when: with_total; filter: actor
        WHERE true  -- when: with_total
            AND l.action = :action::text  -- when: with_total; filter: action
            AND l.resource = :resource::text  -- when: with_total; filter: resource
            AND l.result = :result::text  -- when: with_total; filter: result
            AND l.created_at >= :created_from::timestamptz  -- when: with_total; filter: created_from
            AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- when: with_total; filter: created_from
            AND l.created_at < :created_before::timestamptz  -- when: with_total; filter: created_before
            AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h')  -- when: with_total; filter: created_before
    ) AS total  -- when: with_total
FROM clonedb.audit_logs AS l
LEFT JOIN clonedb.users AS u ON l.subject_ref = u.subject_ref
LEFT JOIN clonedb.audit_subjects AS d
    ON
        l.id = d.id
        AND d.user_id = CASE
            WHEN l.subject_ref IS NULL THEN '00000000-0000-0000-0000-000000000000'::uuid
            ELSE u.id
        END
WHERE true
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id)  -- filter: user
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :subject_id)  -- filter: subject
    AND l.actor_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :actor_id)  -- filter: actor
    AND l.action = :action::text  -- filter: action
    AND l.resource = :resource::text  -- filter: resource
    AND l.result = :result::text  -- filter: result
    AND l.created_at >= :created_from::timestamptz  -- filter: created_from
    AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- filter: created_from
    AND l.created_at < :created_before::timestamptz  -- filter: created_before
    AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h')  -- filter: created_before
    AND l.id < :after_id::uuid  -- after: newest
    AND l.id > :after_id::uuid  -- after: oldest
ORDER BY l.id DESC  -- order: newest
ORDER BY l.id ASC  -- order: oldest
LIMIT :limit::bigint;

-- name: statistics(user_id, created_from, created_before)^
-- What the entries add up to.
-- lane: pool
-- users: all
-- plan: scan audit_logs
SELECT
    count(*) AS entries,
    count(*) FILTER (WHERE l.result = 'failure') AS failures,
    count(DISTINCT l.subject_ref) AS subjects,
    min(l.created_at) AS first_at,
    max(l.created_at) AS last_at
FROM clonedb.audit_logs AS l
WHERE true
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id)  -- filter: user
    AND l.created_at >= :created_from::timestamptz  -- filter: created_from
    AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- filter: created_from
    AND l.created_at < :created_before::timestamptz  -- filter: created_before
    AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h');  -- filter: created_before

-- name: top_actions(user_id, created_from, created_before, limit)
-- The actions with the most entries.
-- lane: pool
-- users: all
-- plan: scan audit_logs
SELECT
    l.action,
    count(*) AS entries,
    count(*) FILTER (WHERE l.result = 'failure') AS failures,
    max(l.created_at) AS last_at
FROM clonedb.audit_logs AS l
WHERE true
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id)  -- filter: user
    AND l.created_at >= :created_from::timestamptz  -- filter: created_from
    AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- filter: created_from
    AND l.created_at < :created_before::timestamptz  -- filter: created_before
    AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h')  -- filter: created_before
GROUP BY l.action
ORDER BY
    entries DESC,
    l.action ASC
LIMIT :limit::bigint;

-- name: top_failures(user_id, created_from, created_before, limit)
-- What failed most often: action and resource.
-- lane: pool
-- users: all
-- plan: scan audit_logs
SELECT
    l.action,
    l.resource,
    count(*) AS failures,
    max(l.created_at) AS last_at
FROM clonedb.audit_logs AS l
WHERE l.result = 'failure'
    AND l.subject_ref = (SELECT u.subject_ref FROM clonedb.users AS u WHERE u.id = :user_id)  -- filter: user
    AND l.created_at >= :created_from::timestamptz  -- filter: created_from
    AND l.id >= clonedb.uuid_v7_floor(greatest(:created_from, '1970-1-3Z') - interval '25h')  -- filter: created_from
    AND l.created_at < :created_before::timestamptz  -- filter: created_before
    AND l.id < clonedb.uuid_v7_floor(:created_before + interval '25h')  -- filter: created_before
GROUP BY
    l.action,
    l.resource
ORDER BY
    failures DESC,
    l.action ASC,
    l.resource ASC
LIMIT :limit::bigint;
