"""A login may make temporary tables, or schemas, in the database.

A temporary table named as a real one comes first in an unpinned search_path, and a definer
function that is misled by it works on it with the owner's rights. PostgreSQL grants TEMPORARY to
everybody.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} has {privilege} on the database",
    remedy="REVOKE {privilege} ON DATABASE {object} FROM {grantee};",
)
