"""A role may pass a right on.

Who may see what is then decided by a login, and revoking a right from it leaves those whom it was
passed to.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} may pass {privilege} on",
    remedy="REVOKE GRANT OPTION FOR {privilege} ON {kind} {object} FROM {grantee} CASCADE;",
)
