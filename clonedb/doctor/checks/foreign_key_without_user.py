"""A foreign key between tables of people does not begin with the user.

Row-level security does not hold for foreign keys: a key on the id alone accepts another user's
row, and tells whether it exists.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{key} accepts rows of another user",
    remedy="ALTER TABLE {object} DROP CONSTRAINT {key};",
)
