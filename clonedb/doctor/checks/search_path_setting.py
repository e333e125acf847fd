"""A role or the database begins with a search_path of its own.

Every name of clonedb is written with its schema and every function pins its path, so nothing needs
it; it only decides what a name without schema means in statements by hand, and in functions that
were added.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="every session begins with search_path = {value}, which nothing of clonedb needs",
    remedy="{place} RESET search_path;",
)
