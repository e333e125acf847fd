"""The header fields of an HTTP response about a decision.

RateLimit-Policy and RateLimit as in draft-ietf-httpapi-ratelimit-headers-11, in the syntax of
structured fields (RFC 9651); Retry-After of RFC 9110 where the request was denied.
"""

from __future__ import annotations

import math
from typing import Final
from urllib.parse import quote

from clonedb.repositories.rate_limit_decisions import (
    ANYTHING,
    NEVER,
    RateLimitDecision,
    RateLimitRuleKey,
)

# What a string of a structured field may hold as it is; the rest is percent-encoded, and so is %.
_PRINTABLE: Final = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) != "%")


def rate_limit_headers(decision: RateLimitDecision) -> dict[str, str]:
    """The fields by name; none where no rule concerns the request.

    Whole numbers, rounded so that a client who keeps to them is not denied: `r` down, `t` and
    Retry-After up. A bucket of 60 that refills in a minute and has 12 left is
    `RateLimit-Policy: "user";q=60;w=60` and `RateLimit: "user";r=12;t=48`: `t` is when it is full
    again, or for `r=0` when one token is back. A denied request has `r=0`, and `t` is Retry-After.
    A bucket that never refills has no `w`, no `t` and no Retry-After.
    """
    rule, limit, remaining = decision.rule, decision.limit, decision.remaining
    if rule is None or limit is None or remaining is None:
        return {}
    refill = decision.refill_per_second or 0.0
    if decision.allowed:
        left = math.floor(remaining)
        seconds = _seconds(limit - remaining if left else 1 - remaining, refill)
    else:
        left = 0
        wait = math.inf if decision.retry_after is None else decision.retry_after
        seconds = None if wait >= NEVER else max(1, math.ceil(wait))
    name = _name(rule)
    window = _parameter("w", _seconds(limit, refill))
    fields = {
        "RateLimit-Policy": f"{name};q={math.floor(limit)}{window}",
        "RateLimit": f"{name};r={left}{_parameter('t', seconds)}",
    }
    if not decision.allowed and seconds is not None:
        fields["Retry-After"] = str(seconds)
    return fields


def _seconds(tokens: float, refill: float) -> int | None:
    """How long that many take to come back; None is never."""
    if not refill or tokens / refill >= NEVER:
        return None
    return max(1, math.ceil(tokens / refill))


def _parameter(name: str, value: int | None) -> str:
    return "" if value is None else f";{name}={value}"


def _name(rule: RateLimitRuleKey) -> str:
    """The policy: its scope, and its endpoint where it is for one."""
    name = rule.scope if rule.endpoint == ANYTHING else f"{rule.scope}:{rule.endpoint}"
    encoded = quote(name, safe=_PRINTABLE)
    escaped = encoded.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
