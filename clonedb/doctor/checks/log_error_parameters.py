"""The server's log gets the values of statements that fail.

PostgreSQL logs a failed statement's parameters only where log_parameter_max_length_on_error asks
for it: what somebody said, for every timeout and every refused row.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message=(
        "with log_parameter_max_length_on_error = {value} failed statements log the words of people"
    ),
    remedy="ALTER DATABASE {object} SET log_parameter_max_length_on_error = 0;",
)
