"""Which built-in functions and operators give no NULL, and on what condition.

What is not listed here, and everything that somebody has defined, may give NULL.
"""

from __future__ import annotations

from typing import Final

from clonedb.check.catalogue import Catalogue, Function
from clonedb.check.tree import Node

NEVER_SURE: Final = ""
IF_GIVEN: Final = "if no argument is NULL"
ALWAYS: Final = "whatever the arguments are"


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Built-in functions that give no NULL unless an argument is NULL: casts, clocks, lengths, texts.
# Not extract() and date_part(), which are NULL for an infinite time; nor array_length().
_FAITHFUL: Final = _names(
    """
    abs array_append array_cat bool btrim bytea cardinality ceil ceiling char_length
    character_length clock_timestamp date date_trunc decode encode exp float4 float8 floor
    gen_random_uuid inet int2 int4 int8 left length lower ltrim make_interval md5 now numeric
    octet_length pg_is_in_recovery power repeat replace reverse right round rtrim sha224 sha256
    sha384 sha512 sqrt statement_timestamp substr text timestamp timestamptz timezone to_json
    to_jsonb transaction_timestamp trunc upper uuid uuidv4 uuidv7 xid8
    """
)
# These give no NULL whatever their arguments are.
_NEVER: Final = _names(
    """
    concat concat_ws json_build_array json_build_object jsonb_build_array jsonb_build_object
    num_nonnulls num_nulls
    """
)
# Over text alone: of a range they are its bounds, NULL where it has none.
_OF_TEXT: Final = frozenset({"lower", "upper"})
_TO_JSON: Final = frozenset({"to_json", "to_jsonb"})
_OPERATORS: Final = _names(
    "= <> < <= > >= + - * / % || && @> <@ ~ !~ ~* !~* ~~ !~~ ~~* !~~* @@ ^ ? ?| ?&"
)
# Paths are the ones whose + is NULL, so geometry is left out, and with it what may come.
_ORDINARY: Final = _names(
    """
    anyarray anycompatible anycompatiblearray anyelement anynonarray bigint boolean bytea date inet
    integer interval jsonb name numeric oid real smallint text tsquery tsvector uuid xid xid8
    """
) | {
    "character varying",
    "double precision",
    "timestamp with time zone",
    "timestamp without time zone",
}
_COUNTS: Final = frozenset({"count"})
# Over one row or more with an argument that is never NULL they are not NULL.
_AGGREGATES: Final = _names(
    "array_agg avg bool_and bool_or every json_agg jsonb_agg max min string_agg sum"
)
_WINDOWS: Final = _names("count cume_dist dense_rank percent_rank rank row_number")


class Faithful:
    """Answers for the nodes of a parse tree."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue

    def function(self, node: Node) -> str:
        """ALWAYS, IF_GIVEN or NEVER_SURE for a call of a function or a cast."""
        function = self._built_in(node, "funcid")
        if function is None or node.flag("funcretset"):
            return NEVER_SURE
        if function.name in _NEVER:
            return NEVER_SURE if node.flag("funcvariadic") else ALWAYS
        types = {self._catalogue.type_name(_type_of(each)) for each in node.nodes("args")}
        if function.name in _TO_JSON:
            return IF_GIVEN
        # Casting the JSON null to a number gives NULL.
        ordinary = {each.removesuffix("[]") for each in types} <= _ORDINARY - {"jsonb"}
        if function.name in _OF_TEXT and not types <= {"text", "character varying"}:
            return NEVER_SURE
        return IF_GIVEN if function.name in _FAITHFUL and ordinary else NEVER_SURE

    def operator(self, node: Node) -> bool:
        """Whether an operator gives no NULL unless an argument is NULL."""
        operator = self._catalogue.operators[node.number("opno")]
        types = {
            self._catalogue.type_name(each) for each in (operator.left, operator.right) if each
        }
        return (
            operator.schema == "pg_catalog"
            and operator.name in _OPERATORS
            and {each.removesuffix("[]") for each in types} <= _ORDINARY
        )

    def aggregate(self, node: Node) -> str:
        """The same of an aggregate; IF_GIVEN is of one row or more."""
        function = self._built_in(node, "aggfnoid")
        if function is None:
            return NEVER_SURE
        if function.name in _COUNTS:
            return ALWAYS
        return IF_GIVEN if function.name in _AGGREGATES else NEVER_SURE

    def window(self, node: Node) -> bool:
        """Whether a window function gives no NULL."""
        function = self._built_in(node, "winfnoid")
        return function is not None and function.name in _WINDOWS

    def _built_in(self, node: Node, name: str) -> Function | None:
        function = self._catalogue.functions[node.number(name)]
        return function if function.schema == "pg_catalog" else None


# What a node calls the type of its value.
_TYPE_FIELDS: Final = _names(
    """
    aggtype array_typeid casetype coalescetype consttype funcresulttype minmaxtype opresulttype
    paramtype resulttype type vartype wintype
    """
)


def _type_of(node: Node) -> int:
    while node.tag == "NAMEDARGEXPR" and (inner := node.node("arg")) is not None:
        node = inner
    return next((node.number(name) for name in node.fields if name in _TYPE_FIELDS), 0)
