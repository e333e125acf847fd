"""The backup cannot read a table, or sees none of its rows.

pg_dump as clonedb_backup fails on a table that it may not read; where no policy shows it the rows,
it dumps an empty table and says nothing.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="clonedb_backup {reason}",
    remedy="{remedy}",
)
