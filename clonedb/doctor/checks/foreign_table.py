"""The schema has a foreign table.

Its rows are in another server or in a file: no policy, no erasure and no backup of this database
reaches them.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="its rows are elsewhere, beyond policies, erasure and backups",
    remedy="DROP FOREIGN TABLE {object};",
)
