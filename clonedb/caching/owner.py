"""Whose entries are asked for."""

from __future__ import annotations

from typing import Final

from clonedb.caching.memory import bucket_of
from clonedb.repositories.cache_table import SHARED_USER
from clonedb.scope import Scope

_SHARED_BUCKET: Final = bucket_of(SHARED_USER)


class Owner:
    """Whose entries: the scope that they are read in, and what memory and notifications call it."""

    __slots__ = ("buckets", "id_bytes", "name", "scope", "user_id")

    def __init__(self, scope: Scope) -> None:
        self.scope = scope
        self.user_id = user_id = scope.user_id
        self.name = "" if user_id is None else str(user_id)
        self.id_bytes = (user_id or SHARED_USER).bytes
        self.buckets = (
            (_SHARED_BUCKET,) if user_id is None else (bucket_of(user_id), _SHARED_BUCKET)
        )
