"""A publication sends tables of people elsewhere.

A subscriber gets every row, whatever the policies here say, and keeps them when a user is erased
here unless it takes deletions too.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="note",
    message="it sends {what} to its subscribers, past row-level security",
    remedy="{remedy}",
)
