"""Somebody besides clonedb_migrator may become clonedb_owner.

Whoever ran the first migration was made a member by it. Once clonedb_migrator runs them, the
membership is only one more way to everything.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="note",
    message="it may become clonedb_owner",
    remedy="REVOKE clonedb_owner FROM {object};",
)
