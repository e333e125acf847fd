"""New functions of the owner are executable by everybody.

That is PostgreSQL's default, and migration 0002 takes it away. The form with IN SCHEMA only adds
to the default and takes nothing from it.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="every login may execute each function that it makes from now on",
    remedy="ALTER DEFAULT PRIVILEGES FOR ROLE {object} REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;",
)
