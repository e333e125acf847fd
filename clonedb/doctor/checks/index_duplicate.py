"""Two indexes of a table are the same.

Each write pays for both, and no read gains.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="it is the same as {other}",
    remedy="DROP INDEX {object};",
)
