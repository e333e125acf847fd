"""A materialized view can be read by a login.

It is a copy of rows, made with its owner's eyes, that row-level security cannot be put on.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} has {privilege} on a copy of rows that no policy can protect",
    remedy="REVOKE {privilege} ON {object} FROM {grantee};",
)
