"""PUBLIC has a right on the schema, a table, a column or a sequence.

Every login of the server that may connect has it, present and future ones, monitoring and other
teams' services included.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="every login has {privilege}",
    remedy="REVOKE {privilege} ON {kind} {object} FROM PUBLIC;",
)
