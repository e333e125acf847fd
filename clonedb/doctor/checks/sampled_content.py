"""ANALYZE keeps samples of what people said or are called.

They lie in pg_statistic, where they outlive the rows that they are of: of a table that is empty
afterwards for ever, so that an erased person's words stay. No plan depends on them.
"""

from clonedb.doctor.check import Check
from clonedb.privacy.classes import INTIMATE

CHECK = Check(
    level="warning",
    message="the server keeps samples of {columns}",
    remedy="ALTER TABLE {object} {actions};",
    arguments={"intimate": INTIMATE},
)
