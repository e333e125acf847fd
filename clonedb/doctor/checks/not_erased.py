"""Deleting a user for good leaves rows of theirs in a table.

A table with rows of people is either reached from the users by foreign keys ON DELETE CASCADE, or
named in `clonedb/doctor/declared.py`, with the statement that erases it or the reason why it is
kept.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import ERASED_BY_NAME, KEPT_AFTER_ERASURE

CHECK = Check(
    level="error",
    message="rows of an erased user stay: no ON DELETE CASCADE leads here from the users",
    remedy="{remedy}",
    arguments={"declared": (*ERASED_BY_NAME, *KEPT_AFTER_ERASURE)},
)
