"""A function is marked LEAKPROOF.

PostgreSQL believes the mark and may call the function with rows that a policy hides, before the
policy is asked. A function that raises an error with its argument in it then tells what the row
says.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="it is marked LEAKPROOF, so that it may be called with rows that policies hide",
    remedy="ALTER FUNCTION {object} NOT LEAKPROOF;",
)
