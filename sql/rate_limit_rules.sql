-- Rules of the rate limits: a bucket's size and refill by scope, endpoint and tier.

-- name: delete(scope, endpoint, tier)
-- Removes a rule; its buckets stay until they are purged.
WITH changed AS (
    DELETE FROM clonedb.rate_limit_rules AS r
    WHERE r.scope = :scope::text
        AND r.endpoint = :endpoint::text
        AND r.tier = :tier::text
    RETURNING r.scope
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        NULL::uuid,
        NULL::uuid,
        'rate_limit_rule.delete',
        'rate_limit_rules',
        'success'
    FROM changed
)
SELECT changed.scope
FROM changed;

-- name: find_many(scope, endpoint, tier)
-- The rules, by scope, endpoint and tier.
SELECT
    r.scope,
    r.endpoint,
    r.tier,
    r.capacity,
    r.refill_per_second,
    r.created_at,
    r.updated_at
FROM clonedb.rate_limit_rules AS r
WHERE true
    AND r.scope = :scope::text  -- filter: scope
    AND r.endpoint = :endpoint::text  -- filter: endpoint
    AND r.tier = :tier::text  -- filter: tier
ORDER BY
    r.scope,
    r.endpoint,
    r.tier;

-- name: put(scope, endpoint, tier, capacity, refill_per_second)^
-- Stores a rule, or changes the one of the same scope, endpoint and tier.
WITH stored AS (
    INSERT INTO clonedb.rate_limit_rules AS r (
        scope,
        endpoint,
        tier,
        capacity,
        refill_per_second
    )
    VALUES (
        :scope::text,
        :endpoint::text,
        :tier::text,
        :capacity::float8,
        :refill_per_second::float8
    )
    ON CONFLICT (scope, endpoint, tier) DO UPDATE
    SET
        capacity = excluded.capacity,
        refill_per_second = excluded.refill_per_second,
        updated_at = statement_timestamp()
    RETURNING
        r.scope,
        r.endpoint,
        r.tier,
        r.capacity,
        r.refill_per_second,
        r.created_at,
        r.updated_at
),
audited AS (
    INSERT INTO clonedb.audit_logs (
        actor_ref,
        subject_ref,
        action,
        resource,
        result
    )
    SELECT
        NULL::uuid,
        NULL::uuid,
        'rate_limit_rule.put',
        'rate_limit_rules',
        'success'
    FROM stored
)
SELECT
    stored.scope,
    stored.endpoint,
    stored.tier,
    stored.capacity,
    stored.refill_per_second,
    stored.created_at,
    stored.updated_at
FROM stored;
