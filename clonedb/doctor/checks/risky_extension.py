"""An extension opens a way out of the database.

It connects to other servers, reads files, runs programs or looks into pages past every right.
Where it is needed, have it in a database of its own.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="it reaches other servers, files or pages, past the rights of this schema",
    remedy="DROP EXTENSION {object};",
)
