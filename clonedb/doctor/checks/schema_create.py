"""A login may make objects in schema clonedb or in public.

A function, table or operator of its own can stand in the way of the real one for whoever has the
schema in the search_path. In a database that comes from PostgreSQL 14 or older everybody may
create in public.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{grantee} may make objects in it",
    remedy="REVOKE CREATE ON SCHEMA {object} FROM {grantee};",
)
