"""A setting of a role or of the database undoes protection for whoever logs in.

`clonedb.user_id` gives a user to every statement that has no context of its own.
`session_replication_role` switches foreign keys off. With `row_security` off a dump fails, or
skips the policies where it may. `role` makes a login another one.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="every session begins with {name} = {value}",
    remedy="{place} RESET {name};",
)
