"""A policy calls a function for every row.

Bare, the function that says who asks is called once a row, in a sub-select once a statement:
200,000 rows without an index took 30 to 94 ms against 6.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="the policy {policy} calls {function} for every row and not once for a statement",
    remedy="ALTER POLICY {policy} ON {object}{using_clause}{check_clause};",
)
