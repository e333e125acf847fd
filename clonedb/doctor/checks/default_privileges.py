"""Default privileges hand new tables, sequences or functions to a login.

A new table, and a new partition above all, is readable from its first moment, before anybody has
protected it: one without row-level security leaked every row so.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} gets {privilege} on all {kind} that {maker} makes from now on{place}",
    remedy=(
        "ALTER DEFAULT PRIVILEGES FOR ROLE {maker}{schema} REVOKE {privilege} ON {kind} FROM "
        "{grantee};"
    ),
)
