"""A login may set a sequence.

UPDATE on a sequence is setval(): one call makes every later INSERT of everybody fail, or use
numbers again. INSERT needs no more than USAGE, and an identity column nothing.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="{grantee} may set the sequence back, for everybody",
    remedy="REVOKE UPDATE ON SEQUENCE {object} FROM {grantee};",
)
