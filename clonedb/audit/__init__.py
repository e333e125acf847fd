"""Sealing the audit log, and verifying it against its seals."""

from clonedb.audit.findings import AuditReport, ExpiredMonth, Finding, FindingKind
from clonedb.audit.sealing import seal
from clonedb.audit.verification import Anchor, verify

__all__ = [
    "Anchor",
    "AuditReport",
    "ExpiredMonth",
    "Finding",
    "FindingKind",
    "seal",
    "verify",
]
