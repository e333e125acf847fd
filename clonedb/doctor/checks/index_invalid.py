"""An index is not valid.

CREATE INDEX CONCURRENTLY that failed leaves it behind, or an index of a table was never attached
to its partitions. It costs every write, helps no read, and a unique one guarantees nothing.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="the index is not used, and a unique one not proved",
    remedy="{remedy}",
)
