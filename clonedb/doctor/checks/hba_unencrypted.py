"""pg_hba.conf lets other machines in without TLS.

A rule of type host holds with and without it; hostssl insists. What people say would cross the
network readable whenever a client does not ask for TLS by itself.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="{rule}: with or without TLS",
    remedy="-- {file}, line {line}: hostssl in the place of {type}\nSELECT pg_reload_conf();",
    needs="may_read_hba_rules",
)
