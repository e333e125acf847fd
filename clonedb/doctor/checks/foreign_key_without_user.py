"""A foreign key between tables of people does not begin with the user.

Row-level security does not hold for foreign keys: a key on the id alone accepts another user's
row, and tells whether it exists.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{key} does not begin with user_id, and may accept another user's rows",
    remedy="{remedy}",
)
