"""Something in the schema does not belong to clonedb_owner.

The role that made it may drop it and take off its protection, and later migrations, which work as
the owner, cannot change it.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="it belongs to {owner}, and not to clonedb_owner",
    remedy="ALTER {kind} {object} OWNER TO clonedb_owner;",
)
