"""A named query and the statements it comes to.

A `Query` is the lines of one query, some under a condition. Its arguments decide which lines stay;
the lines that stay are a `Statement`. Whole lines are dropped and `:name` becomes `$n`; nothing is
ever put in.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, combinations, product
from operator import itemgetter
from typing import Any, Final

from clonedb.query.headers import Access, Header, Lane
from clonedb.query.lines import Condition, ConditionKind, Line

AFTER_PREFIX: Final = "after_"


@dataclass(frozen=True, slots=True, eq=False)
class Statement:
    """One text as the server prepares it. The same variant is always the same object.

    `parameters` names `$1`, `$2`, ...; `path` and `line` are those of the query's name.
    """

    name: str
    text: str
    parameters: tuple[str, ...]
    access: Access
    lane: Lane
    plan_cache_mode: str | None
    timeout_ms: int | None
    path: str
    line: int


class Query:
    """A query of a `.sql` file; `bind` turns arguments into a statement and its values.

    `required` parameters are always needed. The other ones belong to conditional lines: `filters`
    says which a filter needs; those of a flag or an order go with it. `orders[0]` is the default.
    """

    def __init__(self, header: Header, *, module: str, path: str, lines: tuple[Line, ...]) -> None:
        self.name = f"{module}.{header.name}"
        self.operation = header.operation
        self.path = path
        self.line = header.line
        self.doc = header.doc
        self.tags: Mapping[str, str] = header.tags
        self.parameters = header.parameters
        self.lines = lines
        self.required = frozenset(
            parameter
            for line in lines
            if line.parameters and all(kind == "unless" for kind, _ in line.conditions)
            for parameter in line.parameters
        )
        self.orders = tuple(self._names("order"))
        self.flags = frozenset((*self._names("when"), *self._names("unless")))
        self._default_order = self.orders[0] if self.orders else None
        self.filters = {
            name: frozenset(self._used_by(Condition("filter", name))) - self.required
            for name in self._names("filter")
        }
        self._after = {
            order: tuple(self._used_by(Condition("after", order))) for order in self.orders
        }
        self._timeout_ms = header.timeout_ms
        self._flag_names = tuple(self.flags)
        self._statements: dict[tuple[int, ...], Statement] = {}
        self._bindings: dict[object, tuple[Statement, Callable[[Any], tuple[Any, ...]]]] = {}
        self.full = self._statement(
            self._default_order,
            frozenset(self._names("when")),
            frozenset(self.parameters),
        )
        self._unconditional = not any(line.conditions for line in lines)
        self._values = _getter(self.full.parameters)

    def __repr__(self) -> str:
        return f"<Query {self.name} {self.path}:{self.line}>"

    def bind(self, arguments: Mapping[str, Any]) -> tuple[Statement, tuple[Any, ...]]:
        """Choose the variant for the arguments, and put its values in the order of `$1`, `$2`, ...

        Among the arguments are the parameters, `order` (a name of `orders`) and the flags (True or
        False). A parameter counts as given when its name is there, also with None. An argument that
        is missing, unknown or without effect raises TypeError.
        """
        if self._unconditional and len(arguments) == len(self.parameters):
            try:
                return self.full, self._values(arguments)
            except KeyError:
                pass  # told properly below
        key = (
            frozenset(arguments),
            arguments.get("order"),
            *[arguments.get(flag) for flag in self._flag_names],
        )
        binding = self._bindings.get(key)
        if binding is None:
            statement = self._choose(arguments)
            binding = self._bindings[key] = statement, _getter(statement.parameters)
        return binding[0], binding[1](arguments)

    def keyset(self, order: str) -> tuple[str, ...]:
        """The columns of a cursor in that order, () where the order has no `after:` line."""
        self._check_order(order)
        return tuple(parameter.removeprefix(AFTER_PREFIX) for parameter in self._after[order])

    def variant(
        self,
        *,
        order: str | None = None,
        flags: Iterable[str] = (),
        filters: Iterable[str] = (),
        after: bool = False,
    ) -> Statement:
        """The statement of one choice; `after` is the second page, no order the default one."""
        order = order or self._default_order
        given = self.required.union(*(self.filters[name] for name in filters))
        if after and order is not None:
            given = given.union(self._after[order])
        return self._statement(order, frozenset(flags), given)

    def source_line(self, statement: Statement, offset: int) -> int:
        """The line of the file that a character of the statement's text comes from."""
        (kept,) = [kept for kept, each in self._statements.items() if each is statement]
        row = statement.text.count("\n", 0, offset)
        for index in kept:
            line = self.lines[index]
            height = 1 + sum(part.count("\n") for part in line.parts)
            if row <= height:
                return line.number + max(row, 1) - 1
            row -= height
        return self.line

    def variants(self) -> Iterator[Statement]:
        """Every statement that some arguments lead to, each once: what a check has to look at."""
        seen: set[Statement] = set()
        conditional = frozenset(chain(*self.filters.values(), *self._after.values()))
        for order, flags, filters in product(
            self.orders or (None,), _subsets(self.flags), _subsets(self.filters)
        ):
            given = self.required.union(*(self.filters[name] for name in filters))
            for cursor in ((), self._after.get(order or "", ())):
                known = given.union(cursor)
                statement = self._statement(order, frozenset(flags), known)
                # A flag's line may need what a filter left out: no arguments lead there.
                reachable = conditional.intersection(statement.parameters) <= known
                if reachable and statement not in seen:
                    seen.add(statement)
                    yield statement

    def _choose(self, arguments: Mapping[str, Any]) -> Statement:
        order = arguments.get("order", self._default_order)
        if "order" in arguments:
            self._check_order(order)
        for flag in self.flags.intersection(arguments):
            if not isinstance(arguments[flag], bool):
                raise TypeError(f"{self} takes {flag} as True or False")
        flags = frozenset(flag for flag in self.flags if arguments.get(flag, False))
        given = frozenset(arguments) - self.flags - {"order"}
        if unknown := given.difference(self.parameters):
            known = ", ".join((*self.parameters, *sorted(self.flags))) or "none"
            raise TypeError(f"{self} got unknown arguments: {_listed(unknown)} (it takes {known})")
        statement = self._statement(order, flags, given)
        if missing := self.required.union(statement.parameters) - given:
            raise TypeError(f"{self} is missing arguments: {_listed(missing)}")
        if idle := given - self.required.union(statement.parameters):
            reasons = "; ".join(f"{name} goes with {self._needs(name)}" for name in sorted(idle))
            raise TypeError(f"{self} got arguments without effect: {reasons}")
        return statement

    def _check_order(self, order: object) -> None:
        if order not in self.orders:
            known = ", ".join(self.orders) or "none"
            raise TypeError(f"{self} got an unknown order: {order!r} (it has {known})")

    def _needs(self, parameter: str) -> str:
        needs: dict[str, None] = {}
        for line in self.lines:
            if parameter in line.parameters:
                for condition in line.conditions:
                    company = ", ".join(sorted(self._company(condition) - {parameter}))
                    needs[f"{condition} (with {company})" if company else str(condition)] = None
        return " or ".join(needs)

    def _company(self, condition: Condition) -> frozenset[str]:
        if condition.kind == "filter":
            return self.filters[condition.name]
        return frozenset(self._after[condition.name] if condition.kind == "after" else ())

    def __str__(self) -> str:
        return f"{self.name}() ({self.path}:{self.line})"

    def _names(self, kind: ConditionKind) -> dict[str, None]:
        return {
            condition.name: None
            for line in self.lines
            for condition in line.conditions
            if condition.kind == kind
        }

    def _used_by(self, condition: Condition) -> dict[str, None]:
        return {
            parameter: None
            for line in self.lines
            if condition in line.conditions
            for parameter in line.parameters
        }

    def _statement(
        self, order: str | None, flags: frozenset[str], given: frozenset[str]
    ) -> Statement:
        def holds(condition: Condition) -> bool:
            kind, name = condition
            if kind in ("when", "unless"):
                return (name in flags) == (kind == "when")
            if kind == "filter":
                return self.filters[name] <= given
            return name == order and (kind == "order" or given.issuperset(self._after[name]))

        kept = tuple(
            index
            for index, line in enumerate(self.lines)
            if not line.conditions or all(map(holds, line.conditions))
        )
        statement = self._statements.get(kept)
        if statement is None:
            statement = self._statements[kept] = self._render([self.lines[index] for index in kept])
        return statement

    def _render(self, lines: list[Line]) -> Statement:
        numbers: dict[str, int] = {}
        rows = [f"/* {self.name} */"]
        for line in lines:
            row = line.parts[0]
            for parameter, text in zip(line.parameters, line.parts[2::2], strict=True):
                row += f"${numbers.setdefault(parameter, len(numbers) + 1)}{text}"
            rows.append(row)
        writes = self.tags.get("access") == "write" or any(line.writes for line in lines)
        return Statement(
            name=self.name,
            text="\n".join(rows),
            parameters=tuple(numbers),
            access="write" if writes else "read",
            lane="pool" if self.tags.get("lane") == "pool" else "channel",
            plan_cache_mode=self.tags.get("plan_cache_mode"),
            timeout_ms=self._timeout_ms,
            path=self.path,
            line=self.line,
        )


def _getter(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], tuple[Any, ...]]:
    # itemgetter returns a tuple for two names and more only.
    if not names:
        return lambda arguments: ()
    if len(names) == 1:
        (name,) = names
        return lambda arguments: (arguments[name],)
    return itemgetter(*names)


def _subsets(names: frozenset[str] | Mapping[str, Any]) -> list[tuple[str, ...]]:
    ordered = sorted(names)
    return [subset for size in range(len(ordered) + 1) for subset in combinations(ordered, size)]


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
