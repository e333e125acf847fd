"""A login may call a function that reaches files of the server.

What the server's account may read or write, the login may too: other databases' rows, the password
file, programs.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} may execute it, and it reaches beyond the database",
    remedy="REVOKE EXECUTE ON FUNCTION {object} FROM {grantee};",
)
