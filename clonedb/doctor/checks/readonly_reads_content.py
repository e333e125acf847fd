"""clonedb_readonly may read what people said or are.

The login is for dashboards: counts, times, states and costs. A column whose comment classifies
it as biometric, content or contact is not for it, nor one that nobody has classified.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import HIDDEN_COLUMNS
from clonedb.privacy.classes import INTIMATE

CHECK = Check(
    level="error",
    message="clonedb_readonly may read {columns}, which may hold words or data of people",
    remedy="REVOKE SELECT ON {object} FROM clonedb_readonly;{regrant}",
    arguments={"hidden": HIDDEN_COLUMNS, "intimate": INTIMATE},
)
