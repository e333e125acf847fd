"""A role of clonedb has a power beyond its rights.

SUPERUSER and BYPASSRLS pass row-level security. CREATEROLE makes members of other roles, CREATEDB
copies of the database, REPLICATION reads every row from the log.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it has {power}",
    remedy="ALTER ROLE {object} NO{power};",
)
