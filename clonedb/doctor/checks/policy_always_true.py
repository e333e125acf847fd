"""A policy for the app's login, or for everybody, asks nothing of the row.

Policies are joined by OR: one that holds for every row undoes all others of its table. An
expression without any column of the table holds for all rows or for none.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="the policy {policy} holds for every row, and policies are joined by OR",
    remedy="DROP POLICY {policy} ON {object};",
)
