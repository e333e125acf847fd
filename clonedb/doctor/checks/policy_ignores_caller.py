"""A policy for the app's login does not depend on who asks.

It looks at the row alone, so whoever asks sees the same rows. Beside the policy for one's own
rows, which it is joined to by OR, it shows everybody what it lets through: `user_id IS NOT NULL`,
for one, is all. Rows of the nil UUID belong to nobody, and may be shown so.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="the policy {policy} looks at the row and not at who asks",
    remedy="DROP POLICY {policy} ON {object};",
)
