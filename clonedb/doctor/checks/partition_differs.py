"""A partition has other policies than its table.

Through the table the table's policies hold. The partition's own are what stands between its rows
and whoever reads the partition itself: pg_dump, and a login that is granted it by mistake.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="its policies are not those of {parent}",
    remedy="SELECT clonedb.protect_user_table('{object}');",
)
