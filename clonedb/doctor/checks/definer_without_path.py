"""A function that acts with its owner's rights does not pin its search_path to the end.

The caller chooses then what the names in it mean: a table or operator of their own in the place of
the real one, with the owner's rights. Unless pg_temp is named last, temporary tables come first.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it acts with its owner's rights, and its search_path is not pinned with pg_temp last",
    remedy="ALTER ROUTINE {object} SET search_path = pg_catalog, pg_temp;",
)
