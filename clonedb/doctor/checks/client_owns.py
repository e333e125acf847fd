"""A login of services owns something in the database.

An owner may grant, change and drop what it owns, and turn off its row-level security. Large
objects, which every login may make, are rows beyond all policies.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it belongs to {owner}, who may change, grant and drop it",
    remedy="ALTER {kind} {object} OWNER TO clonedb_owner;",
)
