"""A unique key of a table of people does not begin with the user.

Row-level security does not hold for unique keys: who tries a value learns by the refusal that
somebody has it. Keyed by user, it is found in one place, and on one shard.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import KEYED_WITHOUT_USER

CHECK = Check(
    level="error",
    message="{key} does not begin with user_id, and may tell that somebody has a value",
    remedy="{remedy}",
    arguments={"keyed_otherwise": KEYED_WITHOUT_USER},
)
