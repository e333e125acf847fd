"""Everybody may execute a function.

PostgreSQL grants that by default, to every login there is and will be. What a definer function
does for one login it then does for all.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="every login may execute it",
    remedy="REVOKE EXECUTE ON ROUTINE {object} FROM PUBLIC;",
)
