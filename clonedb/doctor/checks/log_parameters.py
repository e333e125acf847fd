"""The server's log gets the values of statements.

clonedb sends what people say as parameters, so a logged statement holds none of it; its parameters
do. They are logged in full unless log_parameter_max_length is 0, and logs are kept, copied and
read by others.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="{reasons}: with log_parameter_max_length = {value} the words of people are in the log",
    remedy="ALTER DATABASE {object} SET log_parameter_max_length = 0;",
)
