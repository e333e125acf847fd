"""The app's login may use a table of which nobody has said whose it is.

It has no user_id and no key to the users, so row-level security has nothing to ask. Either rows
belong to a person, and the table needs the column; or they belong to nobody, and
`clonedb/doctor/declared.py` says so.
"""

from clonedb.doctor.check import Check
from clonedb.doctor.declared import SHARED_TABLES

CHECK = Check(
    level="error",
    message="clonedb_app may use it, it belongs to no user, and it is not declared as shared",
    remedy="REVOKE ALL ON {object} FROM clonedb_app;",
    arguments={"shared": SHARED_TABLES},
)
