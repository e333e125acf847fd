"""A table has no primary key.

The same row can be there twice, an UPDATE or DELETE cannot say which one it means, logical
replication refuses both, and a repeated insert is stored again.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="there is no primary key",
    remedy="ALTER TABLE {object} {remedy};",
)
