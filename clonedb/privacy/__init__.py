"""A person's data: all of it given out, or all of it gone."""

from clonedb.privacy.erasure import (
    Receipt,
    ReceiptsClosed,
    close_receipts,
    count_rows,
    erase_user,
)
from clonedb.privacy.export import ExportProgress, UserExport, export_user
from clonedb.privacy.ledger import Reapplied, reapply, write_ledger

__all__ = [
    "ExportProgress",
    "Reapplied",
    "Receipt",
    "ReceiptsClosed",
    "UserExport",
    "close_receipts",
    "count_rows",
    "erase_user",
    "export_user",
    "reapply",
    "write_ledger",
]
