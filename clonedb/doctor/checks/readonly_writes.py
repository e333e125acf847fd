"""A login that is for reading may write.

clonedb_readonly and clonedb_backup see everybody's rows; their passwords lie in dashboards and in
backup jobs, which nobody guards as services are.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import APPEND_ONLY_TABLES

CHECK = Check(
    level="error",
    message="{grantee} is for reading and has {privilege}",
    remedy="REVOKE {privilege} ON {object} FROM {grantee};",
    arguments={"append_only": APPEND_ONLY_TABLES},
)
