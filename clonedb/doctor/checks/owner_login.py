"""clonedb_owner can log in.

Everything belongs to it, so whoever has its password may switch every protection off. Migrations
become the owner from clonedb_migrator.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="the owner of everything can log in",
    remedy="ALTER ROLE {object} NOLOGIN;",
)
