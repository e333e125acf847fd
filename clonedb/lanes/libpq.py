"""The one function of libpq that psycopg does not wrap: a Sync that does not flush.

`PGconn.pipeline_sync` writes to the socket at once, so ten calls would be ten packets. Since 17
libpq has `PQsendPipelineSync`, which leaves that to `PGconn.flush`. It is looked up in the library
that psycopg itself is linked to, never in another copy on the machine; where it cannot be found,
each call is a write of its own, and nothing else changes.
"""

from __future__ import annotations

import ctypes
import importlib
from collections.abc import Callable
from typing import Final

import psycopg
from psycopg import pq
from psycopg.pq.abc import PGconn

_FIRST_LIBPQ: Final = 170_000


def _find() -> Callable[[int], int] | None:
    if pq.__impl__ not in ("binary", "c") or pq.version() < _FIRST_LIBPQ:
        return None
    module = importlib.import_module(f"psycopg_{pq.__impl__}.pq")
    try:
        # PyDLL: the call takes well under a microsecond, less than giving up the GIL would.
        function = ctypes.PyDLL(module.__file__).PQsendPipelineSync
    except (OSError, AttributeError):
        return None
    function.argtypes = [ctypes.c_void_p]
    function.restype = ctypes.c_int
    return function


_send_pipeline_sync: Final = _find()

FLUSHES_ONCE: Final = _send_pipeline_sync is not None


def send_sync(pgconn: PGconn) -> None:
    """Queue a Sync; what was queued is sent by the next `flush`."""
    if _send_pipeline_sync is None:
        pgconn.pipeline_sync()
    elif not _send_pipeline_sync(pgconn.pgconn_ptr):  # type: ignore[attr-defined]
        raise psycopg.OperationalError(pgconn.get_error_message())
