"""Somebody may change the audit log.

It proves what happened only as long as no login can make it say something else: entries and seals
are added, and never changed. What is personal about an entry is a row beside it, which may be
erased.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import APPEND_ONLY_TABLES, ERASABLE_TABLES

CHECK = Check(
    level="error",
    message="{grantee} has {privilege} on what is only to be added to",
    remedy="REVOKE {privilege} ON {object} FROM {grantee};",
    arguments={"append_only": APPEND_ONLY_TABLES, "erasable": ERASABLE_TABLES},
)
