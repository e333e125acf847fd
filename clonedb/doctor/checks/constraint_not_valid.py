"""A constraint has not been proved for the rows that were there before it.

It holds for what is written from now on. What lies there may break it: a row without its user,
say, that erasure does not find.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{name} is not proved for all rows",
    remedy="{remedy}",
)
