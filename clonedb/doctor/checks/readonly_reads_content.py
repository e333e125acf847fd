"""clonedb_readonly may read what people said or are.

The login is for dashboards: counts, times, states and costs. A column of text, JSON, bytes or
addresses is granted to it only where `clonedb/doctor/declared.py` says that it is harmless.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import HIDDEN_COLUMNS, READABLE_COLUMNS

CHECK = Check(
    level="error",
    message="clonedb_readonly may read {columns}, which may hold words or data of people",
    remedy="REVOKE SELECT ON {object} FROM clonedb_readonly;{regrant}",
    arguments={"hidden": HIDDEN_COLUMNS, "readable": READABLE_COLUMNS},
)
