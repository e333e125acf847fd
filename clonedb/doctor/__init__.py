"""What the catalogue says is wrong with a database's protection: `clonedb doctor --security`."""

from clonedb.doctor.examination import examine, examine_connection
from clonedb.doctor.findings import Finding, Report, Skipped

__all__ = ["Finding", "Report", "Skipped", "examine", "examine_connection"]
