"""Deleting what is older than its retention policy keeps it: months, and rows."""

from clonedb.retention.months import MonthStep, drop_expired_months
from clonedb.retention.rows import delete_expired

__all__ = ["MonthStep", "delete_expired", "drop_expired_months"]
