"""How Python values become parameters and columns become Python values, for every connection."""

from __future__ import annotations

from typing import Any

import msgspec
import psycopg
from psycopg.adapt import AdaptersMap
from psycopg.types.json import Json, JsonbDumper, set_json_dumps, set_json_loads
from psycopg.types.numeric import Int8Dumper

__all__ = ["ADAPTERS", "Json"]


class _MappingDumper(JsonbDumper):
    """A dict, as it is, becomes jsonb."""

    def dump(self, obj: Any) -> bytes:
        return msgspec.json.encode(obj)


def _adapters() -> AdaptersMap:
    adapters = AdaptersMap(psycopg.adapters)
    set_json_loads(msgspec.json.decode, adapters)
    set_json_dumps(msgspec.json.encode, adapters)
    adapters.register_dumper(dict, _MappingDumper)
    # psycopg types an int by its size, so one statement would be prepared once for each size.
    adapters.register_dumper(int, Int8Dumper)
    return adapters


ADAPTERS = _adapters()
