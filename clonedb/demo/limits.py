"""What holds people back: a limit that many calls at once run into, and the day's quota."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from typing import Final

import msgspec

from clonedb.demo.trail import record
from clonedb.repositories.conversation_turns import ConversationTurn
from clonedb.repositories.daily_usage import QuotaDecision
from clonedb.repositories.rate_limit_decisions import RateLimitDecision
from clonedb.repositories.rate_limit_rules import NewRateLimitRule, RateLimitRule
from clonedb.repositories.rate_limits import RateLimitStatistics
from clonedb.repositories.users import User
from clonedb.scopes import DatabaseScope, UserScope

_ENDPOINT: Final = "demo/train-voice"
_AT_ONCE: Final = 12

# Three at once, and a new one every ten minutes: nothing comes back while the demonstration lasts.
_RULE: Final = NewRateLimitRule(
    scope="user", endpoint=_ENDPOINT, capacity=3, refill_per_second=1 / 600
)

# More than any tier with a quota has in a day.
_TOO_LONG: Final = 86_400


class LimitFigures(msgspec.Struct, frozen=True):
    """Calls at once against one rule; `denied_last` waits longest. Then the day's quota.

    `statistics` are the database's counts of the endpoint, of earlier demonstrations too.
    """

    name: str
    rule: RateLimitRule
    calls: int
    allowed: int
    denied: int
    denied_last: RateLimitDecision | None
    statistics: RateLimitStatistics | None
    talked: QuotaDecision
    talked_seconds: float
    too_long: QuotaDecision
    too_long_seconds: float


async def run_into_limits(
    app: DatabaseScope, worker: DatabaseScope, user: User, turns: list[ConversationTurn]
) -> LimitFigures:
    """Train a voice twelve times at once; use the quota for what was said, and ask for a day."""
    scope = app.as_user(user.id)
    rule = await worker.rate_limit_rules.put(_RULE)
    await worker.as_user(user.id).rate_limits.reset(endpoint=_ENDPOINT)
    decisions = await asyncio.gather(*(_train(scope) for _ in range(_AT_ONCE)))
    denied = [decision for decision in decisions if not decision.allowed]
    counts = await scope.rate_limits.statistics()
    talked = sum(
        (turn.user_audio_duration_ms or 0) + (turn.response_audio_duration_ms or 0)
        for turn in turns
    )
    seconds = Decimal(talked) / 1000
    return LimitFigures(
        name=user.name or "",
        rule=rule,
        calls=len(decisions),
        allowed=len(decisions) - len(denied),
        denied=len(denied),
        denied_last=max(denied, key=lambda decision: decision.retry_after or 0, default=None),
        statistics=next((one for one in counts if one.endpoint == _ENDPOINT), None),
        talked=await scope.daily_usage.use(seconds, turns=len(turns)),
        talked_seconds=float(seconds),
        too_long=await _use_too_much(scope),
        too_long_seconds=_TOO_LONG,
    )


async def _train(scope: UserScope) -> RateLimitDecision:
    """Outside a transaction: its entry is not worth keeping others waiting for the bucket."""
    decision = await scope.rate_limits.take(_ENDPOINT)
    await record(scope, "voice_model.train", _ENDPOINT, succeeded=decision.allowed)
    return decision


async def _use_too_much(scope: UserScope) -> QuotaDecision:
    decision = await scope.daily_usage.use(_TOO_LONG)
    await record(scope, "conversation.extend", "daily_usage", succeeded=decision.allowed)
    return decision
