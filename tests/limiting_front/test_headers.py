"""The header fields: their syntax, and that whoever keeps to them is not denied."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from limiting import PutRule, let_pass

from clonedb import Limits, RateLimitDecision, RateLimitRuleKey, User, rate_limit_headers
from clonedb.testing import IsolatedDatabase


def decision(
    allowed: bool,
    limit: float,
    remaining: float,
    refill: float,
    retry_after: float | None = 0,
    endpoint: str = "*",
    scope: Any = "user",
) -> RateLimitDecision:
    rule = RateLimitRuleKey(scope, endpoint, "*")
    return RateLimitDecision(allowed, rule, limit, remaining, retry_after, None, refill)


@pytest.mark.parametrize(
    ("told", "policy", "state", "retry_after"),
    [
        (decision(True, 60, 12.9, 1), '"user";q=60;w=60', '"user";r=12;t=48', None),
        (decision(True, 60, 0.5, 0.1), '"user";q=60;w=600', '"user";r=0;t=5', None),
        (decision(True, 1.5, 1.4, 1), '"user";q=1;w=2', '"user";r=1;t=1', None),
        (decision(False, 60, 0.2, 1, 0.8), '"user";q=60;w=60', '"user";r=0;t=1', "1"),
        (decision(False, 60, 8, 0.5, 4.001), '"user";q=60;w=120', '"user";r=0;t=5', "5"),
        # Without refill nothing comes back: no window, and no time to come again.
        (decision(True, 3, 2, 0), '"user";q=3', '"user";r=2', None),
        (decision(False, 3, 0, 0, None), '"user";q=3', '"user";r=0', None),
        # A window of 31 million years is none, and has too many digits.
        (decision(True, 1e9, 5, 1e-9), '"user";q=1000000000', '"user";r=5', None),
        (
            decision(True, 5, 4, 1, endpoint='a "b\\" %é\n', scope="endpoint"),
            '"endpoint:a \\"b\\\\\\" %25%C3%A9%0A";q=5;w=5',
            '"endpoint:a \\"b\\\\\\" %25%C3%A9%0A";r=4;t=1',
            None,
        ),
    ],
)
def test_fields_are_those_of_the_draft(
    told: RateLimitDecision, policy: str, state: str, retry_after: str | None
) -> None:
    expected = {"RateLimit-Policy": policy, "RateLimit": state}
    if retry_after is not None:
        expected["Retry-After"] = retry_after
    assert rate_limit_headers(told) == expected


def test_what_no_rule_concerns_has_no_fields() -> None:
    assert rate_limit_headers(RateLimitDecision(True, None, None, None, 0, None)) == {}


# RFC 9651: a string of printable characters, and integers of up to 15 digits.
ITEM = re.compile(r'"(?:[\x20\x21\x23-\x5B\x5D-\x7E]|\\["\\])*"(?:;[a-z]+=(?:0|[1-9][0-9]{0,14}))*')


@given(
    capacity=st.floats(1, 1e9),
    refill=st.one_of(st.just(0.0), st.floats(1e-9, 1e9)),
    filled=st.floats(0, 1),
    cost=st.floats(1e-9, 1e9),
    endpoint=st.text(min_size=1, max_size=200),
)
def test_any_decision_makes_fields_to_be_obeyed(
    capacity: float, refill: float, filled: float, cost: float, endpoint: str
) -> None:
    if any("\ud800" <= character <= "\udfff" for character in endpoint):
        return  # no endpoint has them
    tokens = capacity * filled
    allowed = tokens >= cost
    remaining = tokens - cost if allowed else tokens
    retry_after: float | None = 0
    if not allowed:
        retry_after = (cost - tokens) / refill if refill and cost <= capacity else None
    fields = rate_limit_headers(
        decision(allowed, capacity, remaining, refill, retry_after, endpoint)
    )
    for name in ("RateLimit-Policy", "RateLimit"):
        assert ITEM.fullmatch(fields[name]), fields
    state = dict(re.findall(r";([rt])=(\d+)", fields["RateLimit"].rpartition('"')[2]))
    if allowed:
        assert int(state["r"]) <= remaining
        if "t" in state and state["r"] == "0":
            assert remaining + refill * int(state["t"]) >= 1 - 1e-6
    else:
        # A century is never.
        comes = retry_after is not None and retry_after < 3e9
        assert ("Retry-After" in fields) == comes
        if comes and retry_after is not None:
            assert state["r"] == "0"
            assert math.ceil(retry_after) <= int(fields["Retry-After"]) == int(state["t"])


async def test_a_client_who_keeps_to_the_fields_is_never_denied(
    limits: Limits, ada: User, rule: PutRule, migrated: IsolatedDatabase
) -> None:
    await rule("user", 3, 0.3)
    mine = limits.of_user(ada.id)
    waited = 0
    for _ in range(12):
        told = await mine.take("talk")
        assert told.allowed
        state = dict(re.findall(r";([rt])=(\d+)", rate_limit_headers(told)["RateLimit"]))
        if state["r"] == "0":
            let_pass(migrated, int(state["t"]))
            waited += int(state["t"])
    assert 20 <= waited <= 40  # 9 tokens at 0.3 a second
    # And one who came too early is not denied again.
    while (told := await mine.take("talk")).allowed:
        pass
    let_pass(migrated, int(rate_limit_headers(told)["Retry-After"]))
    assert (await mine.take("talk")).allowed
