"""Row-level security is not forced on a table or partition of people.

The owner is then free of it, and with the owner every function that acts with the owner's rights.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="row-level security is not forced, so that the owner and its functions see every row",
    remedy="ALTER TABLE {object} FORCE ROW LEVEL SECURITY;",
)
