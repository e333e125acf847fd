"""A view reads its tables with the rights of its owner.

Whoever may read the view is then held by the owner's policies, which show every row, and not by
their own.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="the view reads with its owner's rights and policies, and not with those of who asks",
    remedy="ALTER VIEW {object} SET (security_invoker = true);",
)
