"""user_id may be NULL.

A row of NULL belongs to nobody: no policy shows it, no erasure finds it, and a foreign key does
not check it. What belongs to everybody bears the nil UUID.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="user_id may be NULL",
    remedy="ALTER TABLE {object} ALTER COLUMN user_id SET NOT NULL;",
)
