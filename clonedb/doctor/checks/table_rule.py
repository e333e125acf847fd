"""A table has a rewrite rule.

It changes what statements do, before they run and without a trace in their text: rows that should
be written elsewhere, or not at all. The tables that it names are reached with the rights of its
owner.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="the rule {rule} changes what statements on it do",
    remedy="DROP RULE {rule} ON {object};",
)
