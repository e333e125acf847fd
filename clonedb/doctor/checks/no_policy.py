"""Row-level security is on and there is no policy.

Nobody sees a row, the owner and the backup included: a dump is empty, a backfill changes nothing,
and neither says so.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message=(
        "row-level security is on without any policy: everybody, the backup included, sees no rows"
    ),
    remedy="{remedy}",
)
