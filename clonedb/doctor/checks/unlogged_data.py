"""A table that is not a cache is UNLOGGED.

It is empty after a crash, after a restore and on a standby that takes over. Only what is computed
again may be stored so; `clonedb/doctor/declared.py` has the list.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import UNLOGGED_TABLES

CHECK = Check(
    level="error",
    message="a crash or a failover empties it, and it is not declared as a cache",
    remedy="ALTER TABLE {object} SET LOGGED;",
    arguments={"unlogged": UNLOGGED_TABLES},
)
