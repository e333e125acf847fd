"""Triggers of a table are switched off.

Foreign keys are triggers: while they are off, rows of users who do not exist can be written, and
deleting a user leaves theirs behind. A bulk load that was broken off leaves a table so.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="{count} of its triggers do not fire, {internal} of them of foreign keys",
    remedy="ALTER TABLE {object} ENABLE TRIGGER {which};",
)
