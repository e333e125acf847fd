"""The server listens on the network without TLS.

Passwords are protected by scram; what people say crosses the network readable.
"""

from clonedb.doctor.check import Check

CHECK = Check(
    level="warning",
    message="the server listens on {addresses} with ssl off",
    remedy=(
        "ALTER SYSTEM SET ssl = on; -- with ssl_cert_file and ssl_key_file in place, then reload"
    ),
)
