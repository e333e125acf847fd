"""A login of services is a member of a role with more rights.

It has that role's rights and policies in addition, or takes them with SET ROLE: as a member of
clonedb_owner it may switch row-level security off, as a member of pg_read_all_data it reads every
column.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it is a member of {granted}",
    remedy="REVOKE {granted} FROM {object};",
)
