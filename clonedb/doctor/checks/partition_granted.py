"""A partition is granted to a login of its own accord.

Rows of a partition are reached through its table, whose grants and policies are the ones that are
looked after. The backup alone reads partitions one by one.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} has {privilege} on a partition, past its table",
    remedy="REVOKE {privilege} ON {object} FROM {grantee};",
)
