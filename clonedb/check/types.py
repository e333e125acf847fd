"""PostgreSQL's types as Python's: what a parameter takes and what a column gives."""

from __future__ import annotations

from typing import Final

from clonedb.check.catalogue import Catalogue

_INTEGERS: Final = frozenset({"smallint", "integer", "bigint", "oid"})
_RESULTS: Final = {
    "boolean": "bool",
    "bytea": "bytes",
    "cidr": "IPv4Network | IPv6Network",
    "date": "date",
    "double precision": "float",
    "inet": "IPv4Address | IPv6Address | IPv4Interface | IPv6Interface",
    "interval": "timedelta",
    "json": "Any",
    "jsonb": "Any",
    "numeric": "Decimal",
    "real": "float",
    "record": "tuple[Any, ...]",
    "time without time zone": "time",
    "time with time zone": "time",
    "timestamp without time zone": "datetime",
    "timestamp with time zone": "datetime",
    "uuid": "UUID",
    "xid8": "int",
    **dict.fromkeys(_INTEGERS, "int"),
}
# A text is what PostgreSQL would read of it; a dict becomes jsonb.
_PARAMETERS: Final = {
    "json": "Json | str",
    "jsonb": "Json | dict[str, Any] | str",
    "inet": "IPv4Address | IPv6Address | str",
    "cidr": "IPv4Network | IPv6Network | str",
    "numeric": "Decimal | int",
}
MODULES: Final = {
    "Any": "typing",
    "Decimal": "decimal",
    "IPv4Address": "ipaddress",
    "IPv4Interface": "ipaddress",
    "IPv4Network": "ipaddress",
    "IPv6Address": "ipaddress",
    "IPv6Interface": "ipaddress",
    "IPv6Network": "ipaddress",
    "Json": "clonedb.adapters",
    "UUID": "uuid",
    "date": "datetime",
    "datetime": "datetime",
    "time": "datetime",
    "timedelta": "datetime",
}


def result_type(catalogue: Catalogue, oid: int) -> str:
    """What a column of the type gives, as an annotation; text where psycopg knows no better.

    Whether an array holds NULLs nothing tells: its elements are taken as never None.
    """
    return _python(catalogue, oid, _RESULTS)


def parameter_type(catalogue: Catalogue, oid: int) -> str:
    """What a parameter of the type takes, as an annotation."""
    return _python(catalogue, oid, {**_RESULTS, **_PARAMETERS})


def _python(catalogue: Catalogue, oid: int, known: dict[str, str]) -> str:
    base = catalogue.base_type(oid)
    found = catalogue.types.get(base)
    if found is None:
        return "Any"
    if found.category == "A" and found.element:
        return f"list[{_python(catalogue, found.element, known)}]"
    return known.get(found.name, "str")
