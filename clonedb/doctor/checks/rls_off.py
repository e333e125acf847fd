"""Row-level security is off on a table or partition of people.

A grant is then all that a login needs to see everybody's rows. A partition has it off until it is
set, whatever its table has.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="row-level security is off",
    remedy="{remedy}",
)
