"""A function that acts with its owner's rights belongs to a superuser.

Row-level security does not hold for superusers, not even where it is forced: a mistake in the
function is everybody's rows, and the server.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it acts with the rights of the superuser {owner}, whom no policy holds",
    remedy="ALTER ROUTINE {object} OWNER TO clonedb_owner;",
)
