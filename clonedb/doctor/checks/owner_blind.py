"""Row-level security is forced and no policy lets the owner see every row.

Backfills of later migrations change nothing and say nothing, and a foreign key is declared valid
over rows that the owner cannot see.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="row-level security is forced on the owner, and no policy shows it every row",
    remedy=(
        "CREATE POLICY every_row_of_owner ON {object} TO clonedb_owner USING (true) WITH CHECK "
        "(true);"
    ),
)
