"""A policy is for PUBLIC.

It holds for every login there is and every one there will be, whoever makes it and for whatever
purpose.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="error",
    message="the policy {policy} holds for every login, present and future",
    remedy="ALTER POLICY {policy} ON {object} TO clonedb_app;",
)
