"""A login has a right on a table that row-level security does not limit.

TRUNCATE removes everybody's rows. REFERENCES tells by a foreign key which ids exist. TRIGGER runs
code of the login's with the rights of whoever writes next. MAINTAIN (from 17 on) may lock the
table in any mode.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import APPEND_ONLY_TABLES, ERASABLE_TABLES

CHECK = Check(
    level="error",
    message="{grantee} has {privilege}, which no policy limits",
    remedy="REVOKE {privilege} ON {object} FROM {grantee};",
    arguments={"append_only": (*APPEND_ONLY_TABLES, *ERASABLE_TABLES)},
)
