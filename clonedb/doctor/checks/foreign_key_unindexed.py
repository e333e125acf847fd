"""A foreign key has no index on the side that refers.

Deleting a row that is referred to then reads the whole table, with locks held: erasing one user
waits for everybody's rows.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="no index begins with the columns of {key}",
    remedy="CREATE INDEX ON {object} ({columns});",
)
